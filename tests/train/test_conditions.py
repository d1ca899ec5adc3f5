import dataclasses
from collections import Counter

import numpy as np
import pytest

from vgen.errors import InputError
from vgen.train.objectives.conditions import (
    ConditionDraw,
    ConditionsConfig,
    check_conditions,
    draw_conditions,
    draw_given,
)

SIZE = (32, 48)
CONFIG = ConditionsConfig()


def rng(seed=0):
    return np.random.default_rng(seed)


def test_kinds_and_counts_come_as_often_as_the_config_says():
    source = rng()
    draws = [draw_conditions(CONFIG, 17, source) for _ in range(4000)]
    share = {kind: count / len(draws) for kind, count in Counter(draw.kind for draw in draws).items()}
    for kind in ("frames", "patches", "region", "clip", "text"):
        assert share[kind] == pytest.approx(getattr(CONFIG, kind), abs=0.03)
    counts = Counter(draw.count for draw in draws if draw.kind == "frames")
    assert [counts[k] / sum(counts.values()) for k in (1, 2, 3, 4)] == pytest.approx(CONFIG.counts, abs=0.04)


@pytest.mark.parametrize("kind", ["frames", "patches"])
def test_frames_are_distinct_sorted_and_in_range(kind):
    source = rng()
    for count in (1, 2, 3, 4):
        for _ in range(50):
            places, masks = draw_given(ConditionDraw(kind, count), CONFIG, 17, SIZE, source)
            assert len(places) == count and masks.shape == (count, *SIZE)
            assert places.min() >= 0 and places.max() <= 16 and (np.diff(places) > 0).all()


def test_whole_frames_are_whole_and_often_at_the_ends():
    source = rng()
    drawn = [draw_given(ConditionDraw("frames", 3), CONFIG, 17, SIZE, source) for _ in range(400)]
    assert all(masks.all() for _, masks in drawn)
    ends = np.mean([places.tolist() == [0, 8, 16] for places, _ in drawn])
    assert ends == pytest.approx(CONFIG.ends, abs=0.08)


def test_each_patch_is_a_crop_of_its_own():
    places, masks = draw_given(ConditionDraw("patches", 4), ConditionsConfig(crop=(0.25, 0.5)), 17, SIZE, rng())
    shares = masks.any(2).mean(1), masks.any(1).mean(1)
    assert all(0.2 <= share <= 0.55 for shares_of_side in shares for share in shares_of_side)
    assert len({mask.tobytes() for mask in masks}) == len(places)
    for mask in masks:  # a full rectangle
        assert mask.sum() == mask.any(1).sum() * mask.any(0).sum()


@pytest.mark.parametrize(("hole", "least", "most"), [(True, 0.74, 0.97), (False, 0.05, 0.45)])
def test_a_region_is_the_same_through_time_a_hole_or_a_window(hole, least, most):
    source = rng()
    for _ in range(30):
        places, masks = draw_given(ConditionDraw("region", 9, hole), CONFIG, 17, SIZE, source)
        assert places.tolist() == list(range(0, 17, 2)) and (masks == masks[0]).all()
        assert least < masks[0].mean() < most


def test_half_of_the_regions_have_a_hole():
    source = rng()
    draws = [draw_conditions(CONFIG, 17, source) for _ in range(2000)]
    assert np.mean([draw.hole for draw in draws if draw.kind == "region"]) == pytest.approx(0.5, abs=0.08)


def test_a_clip_is_a_run_of_whole_frames_often_at_an_end():
    source = rng()
    drawn = [draw_given(ConditionDraw("clip", 5), CONFIG, 17, SIZE, source) for _ in range(300)]
    assert all(np.diff(places).tolist() == [1] * 4 and masks.all() for places, masks in drawn)
    starts = Counter(int(places[0]) for places, _ in drawn)
    assert min(starts) == 0 and max(starts) == 12 and len(starts) == 13
    assert starts[0] > 80 and starts[12] > 80


def test_a_clip_leaves_something_to_complete():
    source = rng()
    only_clips = ConditionsConfig(frames=0, patches=0, region=0, clip=1, text=1e-9)
    assert {draw_conditions(only_clips, 9, source).count for _ in range(50)} == {5}
    assert {draw_conditions(only_clips, 5, source).kind for _ in range(50)} == {"text"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"counts": [0.0] * 19 + [1.0]}, r"the first 17 of them count for clips of 17 frames, and are all 0"),
        ({"counts": [0.5, -1.0]}, r"counts: the chances \[0.5, -1.0\] must be numbers of 0 or more"),
        ({"text": float("nan")}, r"must be numbers of 0 or more"),
        ({"region_step": 0}, r"region_step=0 must lie in 1 to 10000; nearest: 1"),
        ({"crop": (0.2, 1.5)}, r"crop=\[0.2, 1.5\] must be a smaller and a larger share"),
        ({"hole": (0.5, 0.2)}, r"hole=\[0.5, 0.2\] must be"),
        ({"window": (0.0, 0.4)}, r"window=\[0, 0.4\] must be"),
        ({"frames": 0.0, "patches": 0.0, "region": 0.0, "text": 0.0, "clip_frames": [17]}, r"none can be drawn"),
    ],
)
def test_chances_that_nothing_can_be_drawn_from_are_refused(change, message):
    check_conditions(ConditionsConfig(), 17)
    with pytest.raises(InputError, match=message):
        check_conditions(dataclasses.replace(ConditionsConfig(), **change), 17)
