"""Given pixels, kept: exact away from the feather, the rest matched in colour, no seam and no flash."""

import logging

import numpy as np
import pytest
import torch

from vgen.canvas.keep import KeptFrame, Seam, feather_width, feathered, keep_given, kept_frames, mean_seam, spread
from vgen.canvas.pipeline import CanvasPipeline
from vgen.canvas.placed import place
from vgen.canvas.report import format_seam
from vgen.canvas.spec import Canvas, Patch
from vgen.errors import InputError
from vgen.media.pixels import to_uint8, to_unit

SIZE = 64, 96
SHIFT = torch.tensor([0.2, -0.1, 0.05])[:, None, None]


@pytest.fixture
def truth() -> torch.Tensor:
    """A still picture with detail, of 9 frames, quantised to uint8."""
    picture = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0)) - 0.5
    return to_unit(to_uint8(picture))[:, None].repeat(1, 9, 1, 1)


def hole(rows: slice, columns: slice) -> torch.Tensor:
    mask = torch.ones(1, *SIZE)
    mask[:, rows, columns] = 0
    return mask


MASK = hole(slice(16, 48), slice(32, 64))


def test_given_pixels_are_exact_away_from_the_border(truth):
    made = torch.rand(truth.shape, generator=torch.Generator().manual_seed(1)) - 0.5
    video, _ = keep_given(made, [KeptFrame(frame, truth[:, frame], MASK) for frame in (0, 4)])
    whole = feathered(MASK)[0] == 1
    assert whole[:, 0].all() and whole.float().mean() > 0.7  # the canvas's own border is none
    for frame in (0, 4):
        assert torch.equal(to_uint8(video[:, frame])[:, whole], to_uint8(truth[:, frame])[:, whole])


def test_a_feather_rises_inwards_over_its_width():
    width = feather_width(*SIZE)
    row = feathered(hole(slice(0, 64), slice(40, 96)))[0, 5]
    assert width == 1 and feather_width(480, 832) == 8
    assert row[36:42].tolist() == [1, 1, 1, 0.5, 0, 0]
    assert torch.equal(feathered(MASK * 0.5), feathered(MASK) * 0.5)


def test_a_shift_of_colour_is_removed_in_every_frame_and_place(truth):
    for mask in (torch.ones_like(MASK), MASK, 1 - MASK):
        video, left = keep_given(truth + SHIFT[:, None], [KeptFrame(4, truth[:, 4], mask)])
        assert (video - truth).abs().max() < 1e-4
        assert left.time < 0.05 and left.pasted_time > 15
        if not mask.all():
            assert left.space < 0.05 and left.pasted_space > 15


def test_a_seam_is_smaller_than_pasted_where_colours_drift_over_the_picture(truth):
    drift = SHIFT * (1 + torch.linspace(-1, 1, SIZE[1]))  # grows from the left to the right
    video, left = keep_given(truth + drift[:, None], [KeptFrame(frame, truth[:, frame], MASK) for frame in range(9)])
    assert left.space < 0.25 * left.pasted_space and left.time is None
    inside = MASK[0] == 0
    assert (video - truth)[:, 0, inside].abs().mean() < 0.2 * drift.expand(3, *SIZE)[:, inside].abs().mean()


def test_from_one_given_frame_to_the_next_colours_go_linearly(truth):
    level = torch.arange(9.0)[None, :, None, None] / 8  # the model drifts by a whole unit
    ends = [KeptFrame(frame, truth[:, frame], torch.ones_like(MASK)) for frame in (0, 8)]
    video, left = keep_given(truth + 0.4 * level, ends)
    assert (video - truth).abs().max() < 1e-4 and left.space is None
    bent, _ = keep_given(truth + 0.4 * level.square(), ends)
    assert (bent - truth - 0.4 * (level.square() - level)).abs().max() < 1e-4


def test_detail_stays_where_the_picture_stands_still_and_leaves_no_ghost_where_it_moves(truth):
    smooth = torch.full_like(truth, 0.0)
    smooth[:, 5:, :, 48:] = 0.8  # from frame 5 on something else is seen on the right
    video, _ = keep_given(smooth, [KeptFrame(0, truth[:, 0], torch.ones_like(MASK))])
    still, first = (clip[:, :, :, :40].std(dim=(2, 3)) for clip in (video, truth))
    assert (still[:, 8] > 0.7 * first[:, 8]).all() and (still.diff(dim=1) < 0).all()  # and fades in time
    made, given = (clip[:, 8, :, 56:].std(dim=(1, 2)) for clip in (video, truth))
    assert (made < 0.15 * given).all()


def test_near_what_is_given_the_difference_is_what_it_is_there_and_far_away_little_where_it_varies():
    mask = torch.zeros(1, *SIZE)
    mask[:, :32, :4], mask[:, 32:, :4] = 1, 1
    difference = torch.zeros(3, *SIZE)
    difference[:, 32:] = 1.0
    field, far = spread(difference, mask)
    assert field[:, :4, 2].max() < 0.02 and field[:, -4:, 2].min() > 0.95
    assert (far < 0.2).all() and (field[:, :, -1] - far[:, 0]).abs().max() < 0.01
    assert field.diff(dim=2).abs().max() < 0.15  # from one pixel to the next
    same, mean = spread(torch.ones_like(difference), mask)
    assert (same - 1).abs().max() < 1e-5 and (mean - 1).abs().max() < 1e-5


CANVAS = Canvas(17, 32, 64)
GREY, WHITE = (np.full((32, 64, 3), level, np.uint8) for level in (100, 255))


def test_what_is_kept_is_what_says_so_and_is_not_covered(caplog):
    left = (0, 0, 0.5, 1)
    canvas = CANVAS.add(Patch(GREY, 3, keep="exact"), Patch(WHITE, 3, box=left), Patch(WHITE, 5, keep="model"))
    [one] = kept_frames(place(canvas))
    assert one.frame == 3 and one.mask[0, :, 32:].all() and not one.mask[0, :, :32].any()
    whole = Canvas(17, 32, 64, keep="exact", patches=canvas.patches)
    (first,) = kept_frames(place(whole))
    assert first.mask.all() and torch.equal(to_uint8(first.pixels[:, 0, 0]), torch.tensor([255] * 3, dtype=torch.uint8))
    assert kept_frames(place(CANVAS.add(Patch(GREY, 3)))) == []
    with caplog.at_level(logging.WARNING):
        assert kept_frames(place(CANVAS.add(Patch(GREY, 3.5, keep="exact")))) == []
    assert "image@3.5 lies between two frames: it is not put back" in caplog.text


def test_a_clip_is_kept_frame_by_frame(media):
    clip = Patch(media / "clip9.mp4", 4, range=(0, 4), mode="clip", keep="exact")
    assert [one.frame for one in kept_frames(place(CANVAS.add(clip)))] == [4, 5, 6, 7, 8]


def test_a_choice_is_checked():
    for make in (lambda: Canvas(17, 32, 64, keep="exactly"), lambda: Patch(GREY, keep="exactly")):
        with pytest.raises(InputError, match="keep=exactly must be one of exact, model; did you mean exact"):
            make()


def test_a_pipeline_keeps_where_it_is_asked_to(tiny_model):
    pipe = CanvasPipeline.from_pretrained(tiny_model)
    pipe.set_progress_bar_config(disable=True)
    image = np.random.default_rng(0).integers(0, 256, (32, 64, 3), np.uint8)
    canvas = Canvas(5, 32, 64, patches=(Patch(image, 2),))
    plain = pipe(canvas, num_inference_steps=1)
    exact = pipe(Canvas(5, 32, 64, patches=canvas.patches, keep="exact"), num_inference_steps=1)
    assert plain.seam is None and not np.array_equal(plain.video[2], image)
    assert np.array_equal(exact.video[2], image) and exact.seam.time < exact.seam.pasted_time
    assert not np.array_equal(exact.video[3], plain.video[3])
    assert np.array_equal(pipe(canvas, num_inference_steps=1).video, plain.video)


def test_seams_of_segments_are_averaged_and_told_in_one_line():
    both = mean_seam([Seam(1.0, 2.0, 8.0, 4.0), Seam(None, 1.0, None, 2.0)])
    assert both == Seam(1.0, 1.5, 8.0, 3.0) and mean_seam([]) is None
    told = "seam, in grey levels: across borders 1.0 (8.0 if pasted), to the next frame 1.5 (3.0 if pasted)"
    assert format_seam(both) == told
    assert format_seam(Seam(None, None, None, None)) == "seam, in grey levels: none, as all is given"
