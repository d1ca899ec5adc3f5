import numpy as np
import pytest
import torch
from canvas_suite.tasks import TASKS, ClipShape, give, select

SHAPE = ClipShape(length=17, height=40, width=60, stride=4)
SEEDS = [(0, episode, 3) for episode in range(40)]


def extent(mask):
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    return rows, columns


@pytest.mark.parametrize("task", TASKS)
def test_a_selection_depends_on_its_seed_alone(task):
    for seed in SEEDS[:3]:
        (frames, masks), (again, same) = select(task, SHAPE, seed), select(task, SHAPE, seed)
        assert frames == again and np.array_equal(masks, same)
        assert masks.shape == (len(frames), 40, 60) and sorted(set(frames)) == frames and frames[-1] < 17


def test_whole_frame_tasks_give_whole_frames():
    expected = {"image to video": [0], "first, last": [0, 16], "first, middle, last": [0, 8, 16]}
    for task, frames in expected.items():
        given, masks = select(task, SHAPE, SEEDS[0])
        assert given == frames and masks.all()


def test_one_patch_is_a_crop_between_two_latents():
    selections = [select("one patch", SHAPE, seed) for seed in SEEDS]
    assert all(len(frames) == 1 and frames[0] % 4 for frames, _ in selections)
    sizes = [extent(masks[0]) for _, masks in selections]
    assert all(8 <= len(rows) <= 24 and 12 <= len(columns) <= 36 for rows, columns in sizes)
    assert len({(rows[0], columns[0]) for rows, columns in sizes}) > 20


def test_three_patches_lie_at_three_frames_and_differ():
    for seed in SEEDS[:5]:
        frames, masks = select("three patches", SHAPE, seed)
        assert len(set(frames)) == 3
        assert not np.array_equal(masks[0], masks[1])


def test_inpainting_hides_an_interior_rectangle_and_outpainting_most_of_the_canvas():
    for seed in SEEDS:
        frames, masks = select("inpainting", SHAPE, seed)
        assert frames == list(range(0, 17, 2)) and all(np.array_equal(mask, masks[0]) for mask in masks)
        rows, columns = extent(masks[0] == 0)
        assert 8 <= len(rows) <= 20 and 12 <= len(columns) <= 30
        assert rows[0] > 0 and rows[-1] < 39 and columns[0] > 0 and columns[-1] < 59
        _, masks = select("outpainting", SHAPE, seed)
        extent(masks[0])
        assert 0.58 <= 1 - masks[0].mean() <= 0.92


def test_what_is_given_is_cut_from_the_truth_of_each_clip():
    truth = torch.rand(2, 3, 17, 40, 60)
    selections = [select("three patches", SHAPE, seed) for seed in SEEDS[:2]]
    given = give(truth, selections)
    region = given.region(17)
    assert region.shape == (2, 1, 17, 40, 60)
    for sample, (frames, masks) in enumerate(selections):
        for k, frame in enumerate(frames):
            torch.testing.assert_close(given.pixels[sample, k], truth[sample, :, frame])
            np.testing.assert_array_equal(region[sample, 0, frame].numpy(), masks[k])
        assert region[sample].sum() == masks.sum()
