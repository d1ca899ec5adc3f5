"""The gymnasium environment: gymnasium's own checker, its bounds, and what it says without gymnasium."""

import sys
import warnings

import numpy as np
import pytest
from ego_models import RATE, SIZE, save_model

from vgen.ego.rollout import RolloutSettings
from vgen.ego.world import EgoWorld
from vgen.errors import InputError
from vgen.trajectory.statistics import Statistics

FRAME = np.random.default_rng(3).integers(0, 256, (*SIZE, 3), np.uint8)
ROWS = np.random.default_rng(4).normal(size=(4, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def world(tiny_model, vae, tmp_path_factory):
    folder = save_model(tiny_model, tmp_path_factory.mktemp("world") / "model", vae, parts=("ego",))
    return EgoWorld.from_pretrained(folder, settings=RolloutSettings(steps=1))


@pytest.fixture
def environment():
    pytest.importorskip("gymnasium")
    return pytest.importorskip("vgen.ego.environment")


def test_gymnasiums_own_check_passes(environment, world):
    from gymnasium.utils.env_checker import check_env

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*we recommend using a symmetric and normalized space")
        warnings.filterwarnings("ignore", message=".*the environment not having a spec")
        check_env(environment.EgoEnvironment(world, FRAME, "a cat", ROWS[0], "rgb_array"))


def test_a_step_gives_the_last_frame_and_all_of_them_beside_it(environment, world):
    env = environment.EgoEnvironment(world, FRAME, "a cat", render_mode="rgb_array")
    first, _ = env.reset(seed=0)
    assert np.array_equal(first, FRAME) and np.array_equal(env.render(), FRAME)
    first[:] = 0
    observation, reward, terminated, truncated, info = env.step(ROWS)
    assert env.observation_space.contains(observation) and (reward, terminated, truncated) == (0.0, False, False)
    assert np.array_equal(info["frames"][-1], observation) and np.array_equal(env.render(), observation)
    assert np.array_equal(env.reset()[0], FRAME) and env.metadata["render_fps"] == RATE
    assert environment.EgoEnvironment(world, FRAME).render() is None
    with pytest.raises(InputError, match="'human' is not in the render modes; known: rgb_array"):
        environment.EgoEnvironment(world, FRAME, render_mode="human")


def test_it_knows_where_the_hand_is_and_draws_other_noise(environment, world):
    def first(past, seed):
        env = environment.EgoEnvironment(world, FRAME, "a cat", past)
        env.reset(seed=seed)
        one = env.step(ROWS)[0]
        env.reset()
        return one, env.step(ROWS)[0]

    (one, later), (again, _), (moved, _) = first(ROWS[:1], 0), first(ROWS[:1], 0), first(ROWS[:1] + 1, 0)
    assert np.array_equal(one, again) and not np.array_equal(one, moved) and not np.array_equal(one, later)


def test_bounds_are_what_the_statistics_say(environment, world):
    space = environment.EgoEnvironment(world, FRAME).action_space
    assert space.shape == (4, 4) and (space.low == -4).all() and (space.high == 4).all()  # mean 0, deviation 1
    centre, spread = np.arange(10.0), np.arange(1.0, 11.0)
    low, high = environment.action_bounds(Statistics("pose7", "absolute", "quantile", centre, spread))
    pi = np.float32(np.pi)
    assert low.tolist() == [-1, -1, -1, -pi, -pi, -pi, -1] and high.tolist() == [1, 3, 5, pi, pi, pi, 19]


def test_without_gymnasium_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    monkeypatch.delitem(sys.modules, "vgen.ego.environment", raising=False)
    with pytest.raises(InputError, match=r"^gymnasium is not installed; run: pip install gymnasium$"):
        import vgen.ego.environment  # noqa: F401
