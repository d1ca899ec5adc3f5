import logging

import numpy as np
import pytest
import torch
from PIL import Image

from vgen.canvas.placed import place
from vgen.canvas.spec import Canvas, Patch
from vgen.media.image import read_image
from vgen.media.pixels import to_unit
from vgen.media.placing import PlacedClip, PlacedFrame, load_patch
from vgen.media.source import media_length
from vgen.media.video import read_video

CANVAS = Canvas(17, 32, 64)


def test_an_image_at_canvas_size_keeps_its_pixels(media):
    [placed] = load_patch(Patch(media / "cat.png", 2.5), CANVAS)
    assert isinstance(placed, PlacedFrame) and placed.frame == 2.5 and placed.name == "cat.png@2.5"
    assert placed.mask.dtype == torch.float32 and placed.mask.shape == (1, 32, 64) and (placed.mask == 1).all()
    assert torch.equal(placed.pixels, to_unit(read_image(media / "cat.png").copy()).permute(2, 0, 1))


def test_a_box_gives_its_rectangle_and_zeros_elsewhere(media):
    [placed] = load_patch(Patch(media / "cat.png", box=(0.25, 0.5, 0.75, 1)), CANVAS)
    expected = torch.zeros(1, 32, 64, dtype=torch.bool)
    expected[:, 16:, 16:48] = True
    assert torch.equal(placed.mask, expected.float())
    assert (placed.pixels[:, ~expected[0]] == 0).all() and placed.pixels[:, expected[0]].abs().mean() > 0.1


def wide() -> np.ndarray:
    """An image twice as wide as high: black, with red to the left and green to the right."""
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, :10, 0] = image[:, 30:, 1] = 255
    return image


def test_cover_crops_contain_leaves_room_and_stretch_distorts():
    canvas = Canvas(17, 32, 32)
    [cover], [contain], [stretch] = (
        load_patch(Patch(wide(), fit=fit), canvas) for fit in ("cover", "contain", "stretch")
    )
    assert cover.mask.all() and cover.pixels[:, 16, 4:28].max() == -1
    assert contain.mask[0, 8:24].all() and not contain.mask[0, :8].any() and not contain.mask[0, 24:].any()
    assert contain.pixels[0, 16, 0] == 1 and contain.pixels[1, 16, 31] == 1
    assert stretch.mask.all() and stretch.pixels[0, :, 0].min() == 1 and stretch.pixels[1, :, 31].min() == 1


def test_what_a_fit_loses_is_told(caplog):
    square, tall = Canvas(17, 32, 32), np.zeros((40, 20, 3), np.uint8)
    with caplog.at_level(logging.WARNING):
        load_patch(Patch(wide()), square)
        load_patch(Patch(tall, 1), square)
        load_patch(Patch(wide(), 2, fit="stretch"), square)
        load_patch(Patch(tall, 3, fit="stretch"), square)
        load_patch(Patch(wide(), 4, fit="contain"), square)
        load_patch(Patch(wide(), 5, (0, 0.25, 1, 0.75)), square)
    assert [record.getMessage() for record in caplog.records] == [
        "image@0 is cropped to its box of 32x32: 50% of it is lost, left and right; fit=contain keeps all",
        "image@1 is cropped to its box of 32x32: 50% of it is lost, above and below; fit=contain keeps all",
        "image@2 is stretched to its box of 32x32: all is 2 times narrower than it was; fit=contain keeps its shape",
        "image@3 is stretched to its box of 32x32: all is 2 times wider than it was; fit=contain keeps its shape",
    ]


def test_box_mask_and_alpha_multiply(media):
    [alpha] = load_patch(Patch(media / "cutout.png"), CANVAS)
    assert alpha.mask[0, :, 32:].all() and not alpha.mask[0, :, :32].any() and (alpha.pixels[..., :32] == 0).all()
    [masked] = load_patch(Patch(media / "cat.png", mask=media / "left.png"), CANVAS)
    assert masked.mask[0, :, :32].all() and not masked.mask[0, :, 32:].any()
    [both] = load_patch(Patch(media / "cat.png", mask=media / "left.png", box=(0.25, 0, 1, 1)), CANVAS)
    assert both.mask[0, :, 16:32].all() and both.mask.sum() == 16 * 32


def test_a_mask_is_soft_and_multiplies_with_alpha():
    red = np.full((32, 64, 4), (255, 0, 0, 128), np.uint8)
    mask = np.full((32, 64), 255, np.uint8)
    mask[:, 16:32], mask[:, 32:48], mask[:, 48:] = 51, 4, 0
    [placed] = load_patch(Patch(red, mask=mask), CANVAS)
    half = 128 / 255
    assert placed.mask[0, 0, [0, 16, 32, 48]].tolist() == pytest.approx([half, half * 0.2, 0, 0])
    assert (placed.pixels[0, :, :32] == 1).all() and (placed.pixels[..., 32:] == 0).all()  # colours are not weighed
    near = np.where(mask > 0, 249, 6).astype(np.uint8)  # as lossy files leave black and white
    [hard] = load_patch(Patch(red[..., :3], mask=near), CANVAS)
    assert set(hard.mask.unique().tolist()) == {0, 1}


def test_soft_patches_of_one_frame_lie_over_each_other():
    below, above = np.full((32, 64, 4), (255, 0, 0, 255), np.uint8), np.full((32, 64, 4), (0, 255, 0, 255), np.uint8)
    below[:, 32:, 3], above[..., 3] = 0, 51
    [merged] = place(CANVAS.add(Patch(below), Patch(above))).conditions
    picture = Image.alpha_composite(*map(Image.fromarray, (below, above)))
    expected = to_unit(np.array(picture)).permute(2, 0, 1)
    assert (merged.pixels - expected[:3]).abs().max() < 0.01
    assert (merged.mask - (expected[3:] + 1) / 2).abs().max() < 0.01


def test_a_clip_is_taken_frame_by_frame_or_as_a_clip(media):
    frames = load_patch(Patch(media / "clip17.mp4", 2, range=(3, 7)), CANVAS)
    assert [placed.frame for placed in frames] == [2, 3, 4, 5, 6]
    [clip] = load_patch(Patch(media / "clip17.mp4", 2, range=(3, 7), mode="clip"), CANVAS)
    assert isinstance(clip, PlacedClip) and clip.frame == 2 and clip.pixels.shape == (3, 5, 32, 64)
    assert clip.mask.shape == (1, 5, 32, 64)
    assert torch.equal(clip.pixels, torch.stack([placed.pixels for placed in frames], dim=1))
    expected = to_unit(read_video(media / "clip17.mp4", range(3, 8))).permute(3, 0, 1, 2)
    assert torch.equal(clip.pixels, expected)


def test_negative_frame_places_a_clip_at_the_end(media):
    assert load_patch(Patch(media / "clip9.mp4", -9), CANVAS)[-1].frame == 16


def test_a_still_in_clip_mode_is_a_frame(media):
    [placed] = load_patch(Patch(media / "cat.png", 4, mode="clip"), CANVAS)
    assert isinstance(placed, PlacedFrame) and placed.pixels.shape == (3, 32, 64)


def test_arrays_and_images_are_sources(media):
    video = read_video(media / "clip9.mp4")
    assert len(load_patch(Patch(video), CANVAS)) == 9 == media_length(video)
    [image] = load_patch(Patch(Image.open(media / "cat.png"), mask=np.full((2, 2), 255, np.uint8)), CANVAS)
    [path] = load_patch(Patch(media / "cat.png"), CANVAS)
    assert torch.equal(image.pixels, path.pixels)


def test_a_mask_that_moves(media):
    mask = np.zeros((9, 32, 64, 3), np.uint8)
    for index in range(4, 9):
        mask[index, :, index] = 255
    frames = load_patch(Patch(media / "clip9.mp4", mask=mask), CANVAS)
    assert [placed.frame for placed in frames] == [4, 5, 6, 7, 8]  # nothing is given before
    assert all(placed.mask[0, :, int(placed.frame)].all() and placed.mask.sum() == 32 for placed in frames)


def test_composite_merges_the_same_frame_in_order(media):
    patches = (
        Patch(media / "cat.png", 16),
        Patch(media / "dog.png", 3),
        Patch(media / "cutout.png", -1),
        Patch(media / "dog.png", 3.5),
    )
    canvas = place(CANVAS.add(*patches))
    placed, merged = canvas.patches, canvas.conditions
    assert [p.patch for p in placed] == [0, 1, 2, 3]
    assert [p.frame for p in merged] == [16, 3, 3.5]
    assert torch.equal(merged[0].pixels[..., :32], placed[0].pixels[..., :32])
    assert torch.equal(merged[0].pixels[..., 32:], placed[2].pixels[..., 32:])
    assert merged[0].mask.all() and merged[0].name == "cat.png@16 + cutout.png@-1"
    assert merged[1:] == (placed[1], placed[3])


def test_composite_merges_clips_of_one_place_in_time_only(media):
    clip = Patch(media / "clip17.mp4", 0, range=(0, 4), mode="clip")
    left = Patch(media / "clip17.mp4", 0, range=(5, 9), mode="clip", box=(0, 0, 0.5, 1))
    other = Patch(media / "clip17.mp4", 0, range=(0, 8), mode="clip")
    merged = place(CANVAS.add(clip, left, other, Patch(media / "cat.png"))).conditions
    assert [p.pixels.shape[1] for p in merged] == [5, 9, 32]
    [under], [over] = load_patch(clip, CANVAS), load_patch(left, CANVAS)
    assert torch.equal(merged[0].pixels[..., :32], over.pixels[..., :32])
    assert torch.equal(merged[0].pixels[..., 32:], under.pixels[..., 32:])


def test_another_frame_rate_is_told(media, caplog):
    with caplog.at_level(logging.WARNING):
        load_patch(Patch(media / "clip9.mp4"), Canvas(17, 32, 64, fps=15))
        assert not caplog.records
        load_patch(Patch(media / "clip9.mp4"), Canvas(17, 32, 64, fps=30))
    assert "clip9.mp4@0 has 15 fps, the canvas 30: it plays 2 times as fast" in caplog.text


def test_a_small_picture_that_is_much_enlarged_is_told(caplog):
    small, canvas = np.zeros((8, 8, 3), np.uint8), Canvas(17, 128, 256)
    with caplog.at_level(logging.WARNING):
        load_patch(Patch(small, 0, fit="contain"), canvas)
        load_patch(Patch(small, 1, box=(0, 0, 0.0625, 0.125)), canvas)  # 2 times
        load_patch(Patch(small, 2, fit="stretch", box=(0, 0, 0.5, 0.125)), canvas)
    told = [record.getMessage() for record in caplog.records if "enlarged" in record.getMessage()]
    assert told == [
        "image@0 is 8x8 pixels, enlarged 16 times for 128x128: it will be blurred",
        "image@2 is 8x8 pixels, enlarged 16 times for 16x128: it will be blurred",
    ]
