from pathlib import Path

import pytest

from vgen.canvas.placed import place, validate
from vgen.canvas.spec import Canvas

FOLDER = Path(__file__).parents[2] / "configs/canvas"
SPECS = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.stem)
def test_every_spec_says_what_it_is_for_and_fits_nano(spec, caplog):
    canvas = Canvas.from_yaml(spec)
    validate(canvas, temporal_stride=4, size_multiple=32)
    placed = place(canvas, temporal_stride=4).conditions
    assert bool(placed) == (spec.stem != "text_to_video")
    assert spec.read_text().startswith("# ") and bool(canvas.prompt) == (spec.stem != "photograph")
    assert not caplog.records


def test_the_media_are_small_and_all_in_use():
    media = [file for file in (FOLDER / "media").iterdir() if file.suffix != ".md"]
    patches = [patch for spec in SPECS for patch in Canvas.from_yaml(spec).patches]
    used = {Path(file) for patch in patches for file in (patch.source, patch.mask) if file}
    assert set(media) == used
    assert sum(file.stat().st_size for file in media) < 400_000
