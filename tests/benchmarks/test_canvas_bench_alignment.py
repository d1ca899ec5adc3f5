import pytest
import torch
from canvas_bench_fakes import SIZE, BarSampler, bar_clips
from canvas_suite.alignment import EXTRA_FRAMES, most_moving, peak_section, slope_section
from canvas_suite.tasks import ClipShape

SHAPE = ClipShape(length=17, height=16, width=SIZE, stride=4)
PROMPTS, SEEDS = ["a bar"] * 2, [7, 8]


def test_a_model_that_places_the_image_where_it_was_told_is_exact_with_slope_one():
    clips = bar_clips(2, 17 + EXTRA_FRAMES)
    peak = peak_section(BarSampler(), clips, PROMPTS, SHAPE, SEEDS)
    assert peak["model"]["exact"] == peak["codec"]["exact"] == 1
    assert peak["model"]["mean_distance"] == 0
    assert peak["model"]["frames"] == list(range(4, 12))
    slope = slope_section(BarSampler(), clips, PROMPTS, SHAPE, SEEDS)
    for method in ("model", "codec", "truth"):
        assert slope[method]["slope"] == pytest.approx(1, abs=1e-3)
        assert slope[method]["slope_by_clip"] == pytest.approx([1, 1], abs=1e-3)


def test_a_model_that_only_knows_latent_slots_is_exact_on_them_alone():
    clips = bar_clips(2, 17 + EXTRA_FRAMES)
    slots = BarSampler(lambda frame: (frame / 4).floor() * 4)
    peak = peak_section(slots, clips, PROMPTS, SHAPE, SEEDS)
    assert peak["model"]["exact_by_remainder"] == [1, 0, 0, 0]
    assert peak["model"]["mean_distance"] == pytest.approx(1.5)
    assert peak["codec"]["exact"] == 1


def test_a_model_that_ignores_the_frame_has_slope_zero():
    sampler = BarSampler(lambda frame: frame * 0 + 6)
    slope = slope_section(sampler, bar_clips(2, 17 + EXTRA_FRAMES), PROMPTS, SHAPE, SEEDS)
    assert slope["model"]["slope"] == pytest.approx(0, abs=1e-6)
    assert slope["truth"]["slope"] == pytest.approx(1, abs=1e-3)


def test_the_noise_is_the_same_at_every_frame():
    sampler = BarSampler()
    slope_section(sampler, bar_clips(2, 17 + EXTRA_FRAMES), PROMPTS, SHAPE, SEEDS)
    assert sampler.calls == [(tuple(PROMPTS), tuple(SEEDS))] * 4


def test_most_moving_clips_come_first():
    videos = torch.zeros(3, 3, 5, 8, 8)
    videos[1, :, 2, :4] = 1
    videos[2, :, 2, :2] = 1
    assert most_moving(videos, 2) == [1, 2]
