"""Masks on a canvas: those of their picture's size lie as it lies, others over all; edges keep their places."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from vgen.canvas.spec import Canvas, Patch
from vgen.media.placing import load_patch

CANVAS = Canvas(17, 32, 64)


def mask_of(**patch) -> torch.Tensor:
    [placed] = load_patch(Patch(**patch), CANVAS)
    return placed.mask[0]


def photograph(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A black picture with a white thing off its middle, and the mask of the thing."""
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : height // 2, width // 2 : 3 * width // 4] = 255
    return np.repeat(mask[..., None], 3, axis=-1), mask


@pytest.mark.parametrize("fit", ["cover", "contain", "stretch"])
@pytest.mark.parametrize("box", [None, (0.25, 0, 1, 0.75)])
@pytest.mark.parametrize("size", [(96, 64), (64, 96), (96, 96), (32, 64)])
def test_a_mask_of_the_pictures_size_lies_as_the_picture(fit, box, size, caplog):
    picture, mask = photograph(*size)
    [placed] = load_patch(Patch(picture, box=box, mask=mask, fit=fit), CANVAS)
    [whole] = load_patch(Patch(picture, box=box, fit=fit), CANVAS)
    white = (whole.pixels[0] + 1) / 2 * whole.mask[0]
    assert placed.mask.any() and (placed.mask[0] - white).abs().max() < 0.75  # at edges, of two ways to resample
    assert ((placed.mask[0] > 0.5) != (white > 0.5)).float().mean() < 0.02
    assert "mask" not in caplog.text


def test_a_mask_of_the_canvas_or_of_neither_lies_over_the_whole_canvas(caplog):
    picture = photograph(96, 64)[0]
    left = np.zeros((32, 64), np.uint8)
    left[:, :32] = 255
    with caplog.at_level(logging.WARNING):
        for mask in (left, np.repeat(np.repeat(left, 2, axis=0), 2, axis=1)):
            assert torch.equal(mask_of(source=picture, mask=mask), torch.from_numpy(left / 255).float())
        assert "mask" not in caplog.text
        mask_of(source=picture, mask=left[:, ::2])
    assert (
        "mask=in memory is 32x32 and is stretched over the whole canvas of 32x64, wherever its picture lies; draw it "
        "in the canvas's shape, or in its picture's size, 96x64, to lie as that does"
    ) in caplog.text


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def placed_over(folder, mask, of_photograph: int, of_mask: int | None):
    """A photograph of 64x48 stored pixels and a mask, both of these EXIF orientations, on a canvas of its shape."""
    Image.fromarray(photograph(64, 48)[0]).save(folder / "photograph.png", exif=oriented(of_photograph))
    Image.fromarray(mask).save(folder / "mask.png", exif=oriented(of_mask) if of_mask else Image.Exif())
    canvas = Canvas(17, 48, 64) if of_photograph > 4 else Canvas(17, 64, 48)
    [placed] = load_patch(Patch(folder / "photograph.png", mask=folder / "mask.png"), canvas)
    return placed


def lies_on_the_white(placed) -> bool:
    """Whether what is given is the white thing of the photograph, and nothing else."""
    return torch.equal(placed.mask[0], (placed.pixels[0] > 0.9).float())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_that_tells_its_orientation_is_turned_as_its_photograph_is(tmp_path, orientation, caplog):
    mask = photograph(64, 48)[1]
    placed = placed_over(tmp_path, mask, orientation, orientation)
    assert lies_on_the_white(placed) and placed.mask.sum() == mask.sum() / 255
    assert "mask" not in caplog.text


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_drawn_on_the_photograph_as_it_is_shown_stays_as_it_is(tmp_path, orientation, caplog):
    stored = Image.fromarray(photograph(64, 48)[1])
    stored.getexif()[0x0112] = orientation
    placed = placed_over(tmp_path, np.asarray(ImageOps.exif_transpose(stored)), orientation, None)
    assert lies_on_the_white(placed)
    assert ("is taken as drawn on" in caplog.text) == (orientation in (2, 3, 4)), "only a size that is turned tells"


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_mask_drawn_on_the_pixels_of_a_photograph_that_lies_on_its_side_is_turned_too(tmp_path, orientation, caplog):
    assert lies_on_the_white(placed_over(tmp_path, photograph(64, 48)[1], orientation, None))
    assert "it is turned too" in caplog.text


def test_a_mask_of_each_frame_is_placed_as_the_clip():
    clip = np.stack([photograph(96, 96)[0]] * 5)
    clip[1] = np.roll(clip[1], 24, axis=1)
    frames = load_patch(Patch(clip, mask=clip.copy()), CANVAS)
    assert all(((placed.mask[0] > 0.5) == (placed.pixels[0] > 0)).all() for placed in frames)


def test_a_mask_that_is_reduced_is_averaged():
    fine = np.zeros((128, 256), np.uint8)
    fine[:, ::4] = 255  # a quarter of all, which every fourth pixel alone would not show
    assert torch.allclose(mask_of(source=np.zeros((32, 64, 3), np.uint8), mask=fine), torch.tensor(64 / 255), atol=0.01)
    soft = np.broadcast_to(np.linspace(0, 255, 256).astype(np.uint8), (128, 256))
    steps = mask_of(source=np.zeros((32, 64, 3), np.uint8), mask=soft.copy()).diff(dim=1)[:, 4:-4]
    assert steps.min() > 0 and steps.max() < 0.03


def test_a_mask_of_black_and_white_that_is_enlarged_stays_so():
    for height, width in ((8, 16), (11, 23), (20, 50)):
        hard = np.random.default_rng(0).integers(0, 2, (height, width)).astype(np.uint8) * 255
        found = mask_of(source=np.zeros((32, 64, 3), np.uint8), mask=hard)
        assert set(found.unique().tolist()) == {0, 1}
