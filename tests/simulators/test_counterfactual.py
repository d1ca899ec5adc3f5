"""Groups of episodes that part from one state, and the edits that they follow."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from vgen.simulators.counterfactual import BRANCH_FRAME, FUTURE, HISTORY, LEAST_GAP, Workspace, branches, edits

WORKSPACE = Workspace(np.array([-0.3, 0.4, 0.1]), np.array([0.3, 0.8, 0.3]), 0.01)
LENGTH = HISTORY + 1 + FUTURE


@pytest.fixture(scope="module")
def path():
    way = np.zeros((FUTURE + 1, 3))
    way[:] = [0, 0.6, 0.2]
    way[:, 0] = np.linspace(0.05, 0.2, FUTURE + 1)
    return way


def test_edits_start_where_the_expert_is_and_do_what_they_are_called(path):
    grip = np.linspace(0, 1, len(path))
    found = {kind: (way, shut) for kind, way, shut in edits(np.random.default_rng(0), path, grip, WORKSPACE)}
    assert set(found) == {"mirrored", "stopped", "redirected", "noisy"}
    for way, _ in found.values():
        assert way.shape == path.shape and np.allclose(way[0], path[0])
    assert np.allclose(found["mirrored"][0] - path[0], (path - path[0]) * [-1, 1, 1])
    assert (found["stopped"][0] == path[0]).all() and (found["stopped"][1] == grip[0]).all()
    redirected, held = found["redirected"]
    assert (held == grip[0]).all() and np.linalg.norm(
        np.diff(redirected, axis=0), axis=1
    ).max() <= WORKSPACE.speed * 1.01
    assert (redirected[1:] >= WORKSPACE.low - 0.1).all() and np.linalg.norm(redirected[-1] - path[0]) > 0.1
    assert np.linalg.norm(found["noisy"][0] - path, axis=1).mean() > LEAST_GAP and (found["noisy"][1] == grip).all()


def test_branches_whose_hands_do_not_part_are_replaced(path):
    still = np.repeat(path[:1], len(path), axis=0)  # an expert that is done: its mirror image and a stop are the same
    others = edits(np.random.default_rng(1), still, np.zeros(len(still)), WORKSPACE)
    group = branches(still, others, lambda way, grip: way, lambda way: way, 4)
    assert group[0][0] == "expert" and {kind for kind, _ in group[1:]} <= {"redirected", "noisy"}
    gaps = [np.linalg.norm(a - b, axis=1).mean() for i, (_, a) in enumerate(group) for _, b in group[:i]]
    assert len(group) == 4 and min(gaps) >= LEAST_GAP
    stuck = branches(still, others, lambda way, grip: still, lambda way: way, 4)
    assert stuck == []


def _record_metaworld(out: Path) -> Path:
    if importlib.util.find_spec("metaworld") is None:
        pytest.skip("metaworld is not installed")
    from vgen.simulators.metaworld.recorder import record
    from vgen.simulators.metaworld.settings import MetaworldRecording

    tasks, cameras = ["drawer-open-v3"], ["first_person"]
    seeds = {"train_seeds": 0, "test_seeds": 1}
    return record(MetaworldRecording(out, tasks, **seeds, size=64, cameras=cameras, counterfactuals=3))


def _record_adroit(out: Path) -> Path:
    if importlib.util.find_spec("gymnasium_robotics") is None:
        pytest.skip("gymnasium-robotics is not installed")
    from vgen.simulators.adroit.recorder import record
    from vgen.simulators.adroit.settings import AdroitRecording

    return record(AdroitRecording(out, train_seeds=0, test_seeds=1, size=64, counterfactuals=3))


@pytest.mark.parametrize("record", [_record_metaworld, _record_adroit])
def test_the_branches_of_a_recorded_group_are_one_to_the_last_bit_until_they_part(record, tmp_path):
    from vgen.data.lerobot.dataset import LeRobotDataset

    dataset = LeRobotDataset(record(tmp_path / "set"), "test")
    episodes = [dataset.episode(i) for i in range(len(dataset))]
    assert [episode.extra["branch"] for episode in episodes] == [0, 1, 2]
    assert len({episode.extra["group"] for episode in episodes}) == 1
    assert episodes[0].extra["trajectory"] == "expert" and {e.extra["branch_frame"] for e in episodes} == {BRANCH_FRAME}
    assert {episode.length for episode in episodes} == {LENGTH} and {e.extra["seed"] for e in episodes} == {10_000}
    films = [dataset.frames(i, "first_person") for i in range(3)]
    states = [episode.columns["observation.state"] for episode in episodes]
    actions = [episode.columns["action"] for episode in episodes]
    shown = BRANCH_FRAME + 1
    for other in (1, 2):
        assert np.array_equal(films[0][:shown], films[other][:shown])
        assert np.array_equal(states[0][:shown], states[other][:shown])
        assert np.array_equal(actions[0][:BRANCH_FRAME], actions[other][:BRANCH_FRAME])
        assert not np.array_equal(actions[0][BRANCH_FRAME], actions[other][BRANCH_FRAME])
        assert np.abs(films[0][-1].astype(int) - films[other][-1]).mean() > 0.5


def test_metaworld_goes_on_from_a_restored_state_as_it_did():
    if importlib.util.find_spec("metaworld") is None:
        pytest.skip("metaworld is not installed")
    from vgen.simulators.cameras import physics, restore
    from vgen.simulators.metaworld import environment as metaworld_env

    env = metaworld_env.make_env("drawer-open-v3")
    rollout = metaworld_env.simulate(env, "drawer-open-v3", seed=0, max_steps=150)
    restore(env.model, env.data, rollout.physics[20])
    for k in range(20, len(rollout.action) - 1):
        env.step(rollout.action[k])
        assert np.array_equal(physics(env.model, env.data), rollout.physics[k + 1])
