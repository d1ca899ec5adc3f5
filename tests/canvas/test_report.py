import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from full_disk import full_disk
from PIL import Image

from vgen.canvas.placed import place
from vgen.canvas.report import (
    Fidelity,
    _patch_tile,
    codec_psnr,
    contact_sheet,
    far_from_codec,
    fidelity,
    format_table,
    nearest_frame,
    sheet_frames,
)
from vgen.canvas.spec import Canvas, Patch
from vgen.media.image import read_image
from vgen.media.placing import planes
from vgen.media.sheet import ACCENT
from vgen.media.video import read_video

CANVAS = Canvas(17, 32, 64)
GREY = np.full((32, 64, 3), 100, np.uint8)


def video() -> np.ndarray:
    return np.full((17, 32, 64, 3), 100, np.uint8)


def test_fidelity_counts_only_the_region_at_its_frame():
    made = video()
    made[3, :, 32:] = 110  # off by 10 inside the box
    made[3, :, :32] = 0  # and by more outside it
    [row] = fidelity(made, place(CANVAS.add(Patch(GREY, 3, box=(0.5, 0, 1, 1)))))
    assert row.mean == row.worst == pytest.approx(20 * math.log10(255 / 10), abs=1e-3)
    assert (row.first, row.last, row.area) == (3, 3, 0.5)


def test_fidelity_of_a_clip_is_the_mean_and_the_worst_of_its_frames(media):
    made = video()
    made[4:9] = read_video(media / "clip9.mp4", range(5))
    made[6] ^= 16
    for mode in ("frames", "clip"):
        [row] = fidelity(made, place(CANVAS.add(Patch(media / "clip9.mp4", 4, range=(0, 4), mode=mode))))
        worst = 20 * math.log10(255 / 16)
        assert (row.name, row.first, row.last, row.area) == ("clip9.mp4@4", 4, 8, 1)
        assert row.worst == pytest.approx(worst, abs=1e-3) and row.mean == pytest.approx(
            (worst + 4 * 100) / 5, abs=1e-3
        )


def test_what_is_given_in_part_counts_in_part():
    half = np.full((32, 64), 255, np.uint8)
    half[:, 32:] = 51
    made = video()
    made[3, :, 32:] = 110
    [row] = fidelity(made, place(CANVAS.add(Patch(GREY, 3, mask=half))))
    assert row.area == pytest.approx(0.6)
    assert row.mean == pytest.approx(10 * math.log10(255**2 / (100 * 0.2 / 1.2)), abs=1e-3)


def test_what_a_later_patch_covers_does_not_count(media):
    under, over = Patch(GREY, 16), Patch(np.full_like(GREY, 200), -1, box=(0, 0, 0.5, 1))
    made = video()
    made[16, :, :32] = 200
    rows = fidelity(made, place(CANVAS.add(under, over)))
    assert [(row.area, row.mean) for row in rows] == [(0.5, 100), (0.5, 100)]
    assert [row.name for row in fidelity(made, place(CANVAS.add(over, under)))] == ["image@16"]


def test_what_shows_through_a_soft_patch_is_compared_as_the_blend_that_is_given():
    half = np.full((32, 64), 128, np.uint8)
    under, above = Patch(GREY, 3), Patch(np.full_like(GREY, 200), 3, mask=half)
    canvas, made = place(CANVAS.add(under, above)), video()
    made[3] = 150  # as both are given, one over the other
    rows = fidelity(made, canvas)
    assert [row.area for row in rows] == pytest.approx([127 / 255, 128 / 255])
    assert [row.mean for row in rows] == pytest.approx([20 * math.log10(255 / 0.196)] * 2, abs=0.1)
    assert [round(each.psnr, 1) for each in codec_psnr(Dimmed(), canvas, padding="zeros").values()] == [24.2, 24.2]


def test_a_soft_image_over_a_clip_is_compared_with_the_blend_too():
    clip, half = np.full((5, 32, 64, 3), 100, np.uint8), np.full((32, 64), 128, np.uint8)
    made = video()
    made[2] = 150
    rows = fidelity(made, place(CANVAS.add(Patch(clip, mode="clip"), Patch(np.full_like(GREY, 200), 2, mask=half))))
    assert rows[0].worst > 60 and rows[1].worst > 60


def test_patches_of_two_strengths_are_measured_each_as_it_is_encoded():
    right = Patch(np.full_like(GREY, 250), 3, box=(0.5, 0, 1, 1), strength=0.5)
    held = codec_psnr(Dimmed(), place(CANVAS.add(Patch(GREY, 3, box=(0, 0, 0.5, 1)), right)), padding="zeros")
    assert [round(each.psnr, 1) for each in held.values()] == [28.1, 22.1]  # 10 and 20 of 255


def test_what_an_image_covers_of_a_clip_does_not_count():
    clip, cat = np.full((5, 32, 64, 3), 60, np.uint8), np.full_like(GREY, 200)
    made = video()
    made[:5], made[2] = 60, 200
    for mode in ("frames", "clip"):
        rows = fidelity(made, place(CANVAS.add(Patch(clip, mode=mode), Patch(cat, 2))))
        assert [(row.first, row.last, row.worst) for row in rows] == [(0, 4, 100), (2, 2, 100)]


def test_a_fractional_frame_is_compared_with_its_nearest():
    made = video()
    made[10] = 0
    [row] = fidelity(made, place(CANVAS.add(Patch(GREY, 10.75))))
    assert row.mean == 100
    assert [nearest_frame(frame) for frame in (0, 10.25, 10.5, 10.75, 16)] == [0, 10, 10, 11, 16]


def test_frames_by_index_serve_as_a_video():
    placed = place(CANVAS.add(Patch(GREY, 3)))
    assert fidelity({3: GREY}, placed) == fidelity(video(), placed)


def test_patches_of_one_name_have_rows_and_tiles_that_are_told_apart():
    canvas = place(CANVAS.add(Patch(GREY, 3, box=(0, 0, 0.5, 1)), Patch(GREY, 3, box=(0.5, 0, 1, 1))))
    assert [row.name for row in fidelity(video(), canvas)] == ["image@3 (1)", "image@3 (2)"]
    tile = _patch_tile(canvas.conditions[0].name, 3, *planes(canvas.conditions[0])[0][1:], (64, 32))
    assert tile.note == "image (1) + image (2)"


def test_table():
    rows = fidelity(video(), place(CANVAS.add(Patch(GREY, 3), Patch(video()[:5], -5, box=(0, 0, 1, 0.5)))))
    assert format_table([replace(rows[0], codec=27.333), rows[1]]).splitlines() == [
        "patch    frames  area  PSNR (dB)  worst (dB)  codec (dB)",
        "image@3       3  100%     100.00      100.00       27.33",
        "clip@-5   12-16   50%     100.00      100.00           -",
    ]


class Dimmed:
    """A codec that loses 10 of 255 on the left, and 20 on the right; what it was asked for is kept."""

    def __init__(self):
        self.images = []

    def encode_image(self, image):
        self.images += list(image)
        return image[:, :, None]

    def decode(self, latent):
        lost = torch.full(latent.shape[-2:], 20 / 127.5)
        lost[:, :32] = 10 / 127.5
        return latent - lost


def test_the_codec_alone_is_measured_inside_each_region():
    over = Patch(np.full_like(GREY, 200), 16, box=(0, 0, 0.5, 1))
    placed, codec = place(CANVAS.add(Patch(GREY, 16), over)), Dimmed()
    held = codec_psnr(codec, placed, padding="zeros")
    assert [(key[1], round(each.psnr, 3), each.area) for key, each in held.items()] == [
        ("image@16 (1)", round(20 * math.log10(255 / 20), 3), 0.5),
        ("image@16 (2)", round(20 * math.log10(255 / 10), 3), 0.5),
    ]
    assert len(codec.images) == 1  # as it is given to the model: both at once
    rows = fidelity(video(), placed, held)
    assert [row.codec for row in rows] == [each.psnr for each in held.values()]


def test_of_many_frames_some_are_measured_the_first_of_each_patch_among_them():
    clip, codec = Patch(np.tile(GREY, (15, 1, 1, 1)), 0), Dimmed()
    placed = place(CANVAS.add(clip, Patch(np.full_like(GREY, 50), 15), Patch(np.full_like(GREY, 60), 16)))
    assert len(codec_psnr(codec, placed, most=5, padding="zeros")) == 3 and len(codec.images) == 5
    assert len(codec_psnr(codec, placed, most=2, padding="zeros")) == 2
    assert codec_psnr(codec, place(CANVAS), padding="zeros") == {}


def test_the_sheet_shows_given_frames_and_others_evenly(media):
    placed = place(Canvas(1025, 32, 64).add(Patch(media / "cat.png", 3), Patch(media / "cat.png", 700.5)))
    shown = sheet_frames(1025, placed)
    assert len(shown) == 24 and {0, 3, 700, 1024} <= set(shown) and shown == sorted(shown)
    assert sheet_frames(17, place(CANVAS)) == list(range(17))
    clip = place(CANVAS.add(Patch(media / "clip17.mp4")))
    assert len(sheet_frames(1025, clip)) == 24 and sheet_frames(1025, clip)[-1] == 1024


def accented(sheet: Image.Image) -> int:
    return int((np.asarray(sheet) == ACCENT).all(-1).sum())


def test_contact_sheet(media, tmp_path):
    patches = Patch(media / "cat.png", 0), Patch(media / "cutout.png", 8.5), Patch(media / "clip9.mp4", 8, mode="clip")
    contact_sheet(video(), place(replace(CANVAS, prompt="a cat " * 100).add(*patches)), tmp_path / "with.png")
    contact_sheet(video(), place(CANVAS), tmp_path / "without.png")
    with_patches, without = (Image.open(tmp_path / name) for name in ("with.png", "without.png"))
    assert without.width == with_patches.width <= 1800 and without.height < with_patches.height
    assert accented(with_patches) > 1000 and accented(without) == 0


def test_the_sheet_holds_the_pictures(media, tmp_path):
    cat = read_image(media / "cat.png")
    contact_sheet({0: GREY, 5: cat}, place(CANVAS), tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert (sheet == 100).all(-1).sum() >= 170 * 170  # the grey frame, larger than it was


def test_the_sheet_says_which_frames_it_leaves_out(media, tmp_path):
    clips = Patch(media / "clip17.mp4"), Patch(media / "clip9.mp4", 24)
    placed = place(Canvas(33, 32, 64).add(*clips))
    made = np.full((33, 32, 64, 3), 100, np.uint8)
    told = contact_sheet(made, placed, tmp_path / "part.png")
    given, completed = told.split("; ")
    assert given.startswith("given: 12 of 26 frames, without 1") and completed.startswith(
        "completed: 24 of 33 frames, "
    )
    assert contact_sheet(made[:17], place(CANVAS.add(Patch(GREY, 3))), tmp_path / "all.png") == ""
    one = contact_sheet({index: GREY for index in range(17) if index != 4}, place(CANVAS), tmp_path / "most.png")
    assert one == "completed: 16 of 17 frames, without 4"
    pictures = [np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("all", "most")]
    assert pictures[0].shape[1] == pictures[1].shape[1]


def test_what_is_kept_far_worse_than_the_codec_could_is_told():
    strengths = {"image@0": 1, "image@1": 1, "image@2": 1, "image@3": 1, "image@4": 0.5}
    placed = place(CANVAS.add(*(Patch(GREY, frame, strength=each) for frame, each in enumerate(strengths.values()))))
    assert [each.name for each in placed.patches] == list(strengths)
    kept = (25.0, 25.6), (20.0, 26.0), (22.9, 37.0), (5.0, None), (5.0, 40.0)
    rows = [Fidelity(name, 0, 0, 1, mean, mean, codec) for name, (mean, codec) in zip(strengths, kept, strict=True)]
    line = far_from_codec(rows, placed)
    assert line.startswith("image@2 is kept at 22.9 dB, where its codec holds 37.0 and 1 more: the model does poorly")
    assert far_from_codec([rows[0], rows[3], rows[4]], placed) == ""


def test_a_label_is_the_name_without_its_frames():
    image = torch.zeros(3, 8, 8), torch.ones(1, 8, 8)
    for name, label in (
        ("a@b.png@0", "a@b.png"),
        ("cat.png@16 + cutout.png@-1", "cat.png + cutout.png"),
        ("cat.png@0 (1) + cat.png@0 (2)", "cat.png (1) + cat.png (2)"),
        ("my cat@2 (old).png@0", "my cat@2 (old).png"),
    ):
        assert _patch_tile(name, 0, *image, (8, 8)).note == label


def test_a_sheet_that_the_disk_does_not_hold_leaves_the_old_one(tmp_path):
    (tmp_path / "sheet.png").write_bytes(b"an older one")
    with full_disk(512), pytest.raises(OSError, match="File too large"):
        contact_sheet(video(), place(CANVAS.add(Patch(GREY, 3))), tmp_path / "sheet.png")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"an older one"]
