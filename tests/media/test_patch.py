"""Names of patches among others."""

import numpy as np
import pytest
from PIL import Image

from vgen.canvas.spec import Canvas
from vgen.media.patch import Patch, patch_names
from vgen.media.placing import DEFAULT_FPS, frame_rate, place_all
from vgen.media.writing import write_video

GREY = np.full((32, 64, 3), 100, np.uint8)
LEFT, RIGHT = (0, 0, 0.5, 1), (0.5, 0, 1, 1)


@pytest.mark.parametrize(
    ("patches", "names"),
    [
        ([Patch("a/cat.png")], ["cat.png@0"]),
        ([Patch("a/cat.png"), Patch("b/cat.png", 4)], ["cat.png@0", "cat.png@4"]),
        ([Patch("a/cat.png"), Patch("b/cat.png")], ["a/cat.png@0", "b/cat.png@0"]),
        ([Patch("cat.png"), Patch("b/cat.png")], ["cat.png@0", "b/cat.png@0"]),
        ([Patch("/x/a/cat.png"), Patch("/y/a/cat.png")], ["x/a/cat.png@0", "y/a/cat.png@0"]),
        ([Patch("a/cat.png", box=LEFT), Patch("a/cat.png", box=RIGHT)], ["cat.png@0 (1)", "cat.png@0 (2)"]),
        (
            [Patch("a/cat.png", box=LEFT), Patch("b/cat.png"), Patch("a/cat.png", box=RIGHT)],
            ["a/cat.png@0 (1)", "b/cat.png@0", "a/cat.png@0 (2)"],
        ),
        ([Patch(GREY), Patch(GREY, 1), Patch(GREY)], ["image@0 (1)", "image@1", "image@0 (2)"]),
        ([Patch(GREY), Patch("a/image"), Patch("b/image")], ["image@0", "a/image@0", "b/image@0"]),
    ],
)
def test_no_two_patches_of_a_canvas_have_one_name(patches, names):
    assert patch_names(patches) == names


def test_notices_and_errors_name_the_one_that_they_are_of(tmp_path, caplog):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(GREY).save(tmp_path / name / "cat.png")
    canvas = Canvas(5, 32, 32).add(*(Patch(tmp_path / name / "cat.png") for name in ("a", "b")))
    placed = place_all(canvas.patches, canvas)
    assert [each.name for each in placed] == ["a/cat.png@0", "b/cat.png@0"]
    assert [record.message.split(" is cropped")[0] for record in caplog.records] == ["a/cat.png@0", "b/cat.png@0"]
    (tmp_path / "b" / "cat.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"^b/cat.png@0: "):
        place_all(canvas.patches, canvas)


def test_rates_of_two_clips_of_one_name_are_compared(tmp_path, caplog):
    for name, fps in (("a", 10), ("b", 25)):
        (tmp_path / name).mkdir()
        write_video(tmp_path / name / "clip.mp4", np.stack([GREY] * 5), fps)
    assert frame_rate([Patch(tmp_path / name / "clip.mp4") for name in ("a", "b")]) == DEFAULT_FPS
    assert "a/clip.mp4@0 has 10 fps, b/clip.mp4@0 has 25 fps" in caplog.text
