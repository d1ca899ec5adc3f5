"""A rollout that goes on by itself: what each turn of a policy is told, and what the world is given."""

from dataclasses import replace

import numpy as np
import pytest
from ego_models import HORIZON, RATE, SIZE, STATE_RATE, hand
from trajectory_samples import with_gap

from vgen.ego.pipeline import EgoPipeline
from vgen.ego.rollout import RolloutSettings
from vgen.ego.world import EgoWorld
from vgen.inference.ego import frames as frames_of
from vgen.inference.ego.inputs import Context
from vgen.inference.ego.trajectories import HandHistory, actions_of
from vgen.state.model import StateModel


@pytest.fixture(scope="module")
def pipe(ego_model):
    loaded = EgoPipeline.from_pretrained(ego_model)
    loaded.set_progress_bar_config(disable=True)
    return loaded


@pytest.fixture
def world(pipe):
    return EgoWorld(pipe, settings=RolloutSettings(advance=4, window=2, steps=1))


@pytest.fixture
def context():
    frames = np.random.default_rng(0).integers(0, 256, (3, *SIZE, 3), np.uint8)
    return Context(frames, "a cat", (), 3)


def past():
    """Eleven rows, the last of which is the state at the start frame."""
    return replace(hand(11), times=np.arange(-10, 1) / RATE)


@pytest.fixture
def turns(ego_model, pipe, world, context, monkeypatch):
    """A policy that is played for 12 frames: itself, its frames, and what it asked for in each turn."""
    asked, given = [], []

    def ask(model, layout, frames, known, text, count, generator):
        asked.append((frames, known, count))
        times = known.times[-1] + np.arange(count + 1) / STATE_RATE
        values = known.values[-1] + np.linspace(0, 0.3, count + 1)[:, None]
        return replace(known, values=values, times=times, valid=None), f"turn {len(asked)}"

    step = world.step
    monkeypatch.setattr(frames_of, "policy", ask)
    monkeypatch.setattr(world, "step", lambda actions: (given.append(actions), step(actions))[1])
    model = StateModel.from_pretrained(ego_model / "state", pipe.codec)
    policy = frames_of.Policy(model, world, context, past(), HandHistory(past().rows(2, 11), world.form))
    frames = np.concatenate(list(policy.play(12)))
    return policy, frames, asked, given


def test_every_turn_goes_on_from_the_frames_that_were_made(turns, context):
    policy, frames, asked, _ = turns
    assert len(frames) == 12 and policy.texts == ["turn 1", "turn 2", "turn 3"]
    whole = np.concatenate([context.history, frames])
    for turn, (seen, _, count) in enumerate(asked):
        present = len(context.history) - 1 + 4 * turn
        assert count == HORIZON and np.array_equal(seen, whole[[present - 2, present]])  # 2 frames at half the rate


def test_every_turn_goes_on_from_where_the_hand_was_led(turns):
    policy, _, asked, given = turns
    rows = policy.hand.rows
    assert np.allclose(rows.times, np.arange(-8, 13) / RATE)
    assert np.allclose(np.diff(rows.values[8:], axis=0), 0.05, atol=1e-5)  # 0.1 in each step at half the rate
    for turn, (_, known, _) in enumerate(asked):
        assert np.isclose(known.times[-1], 4 * turn / RATE)
        assert np.allclose(known.values[-1], rows.values[8 + 4 * turn], atol=1e-6)
    assert np.allclose(np.concatenate([each.values for each in given]), rows.values[9:], atol=1e-6)


def test_rows_that_are_not_valid_are_as_if_absent(world, context):
    videos = []
    for change in (0.0, 5.0):
        path = with_gap(hand(9), 3, 7)
        values = np.where(path.valid[:, None], path.values, change)
        actions = actions_of(replace(path, values=values), RATE, 8, world.form)
        videos.append(np.concatenate(list(frames_of.follow(world, context, actions))))
    whole = np.concatenate(list(frames_of.follow(world, context, actions_of(hand(9), RATE, 8, world.form))))
    assert np.array_equal(videos[0], videos[1]) and not np.array_equal(videos[0], whole)


def test_a_row_changes_its_own_frame_and_what_comes_after(pipe, context):
    world = EgoWorld(pipe, settings=RolloutSettings(advance=1, window=2, steps=1))
    path = hand(7)
    values = path.values.copy()
    values[4] += 1  # the state at frame 4
    both = [
        np.concatenate(list(frames_of.follow(world, context, actions_of(each, RATE, 6, world.form))))
        for each in (path, replace(path, values=values))
    ]
    same = [np.array_equal(one, other) for one, other in zip(*both, strict=True)]
    assert same[:3] == [True] * 3 and not same[3]  # frames 1, 2, 3, then 4
