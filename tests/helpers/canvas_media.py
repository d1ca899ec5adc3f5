"""Images and clips to put on a canvas."""

import numpy as np
import pytest
from PIL import Image

from vgen.media.writing import write_video


@pytest.fixture(scope="session")
def media(tmp_path_factory):
    """A folder of small media: two images, a cut-out, two masks, clips of 9 and 17 frames."""
    folder = tmp_path_factory.mktemp("media")
    random = np.random.default_rng(0)
    for name in ("cat.png", "dog.png"):
        Image.fromarray(random.integers(0, 256, (32, 64, 3), np.uint8)).save(folder / name)
    cutout = np.full((32, 64, 4), 200, np.uint8)
    cutout[:, :32, 3] = 0
    cutout[:, 32:, 3] = 255
    Image.fromarray(cutout).save(folder / "cutout.png")
    Image.new("RGBA", (8, 8)).save(folder / "clear.png")
    Image.new("L", (8, 8)).save(folder / "black.png")
    left = np.zeros((16, 32), np.uint8)
    left[:, :16] = 255
    Image.fromarray(left).save(folder / "left.png")
    for frames in (9, 17):
        ramp = np.linspace(0, 250, frames).astype(np.uint8)
        video = np.broadcast_to(ramp[:, None, None, None], (frames, 32, 64, 3))
        write_video(folder / f"clip{frames}.mp4", np.ascontiguousarray(video), fps=15)
    return folder
