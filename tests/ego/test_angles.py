"""One motion has one set of rows: what training, Stage I, rollouts and the benchmark make of a turn through pi, each by
the functions that it runs on.
"""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ego_suite.cases import START
from tiny_wan import save_tiny_wan

from vgen.data.lerobot.writer import LeRobotWriter
from vgen.data.opening import DataConfig
from vgen.ego.actions import timed_actions
from vgen.errors import InputError
from vgen.inference.ego.observation import open_observation
from vgen.inference.ego.spec import Start
from vgen.inference.ego.trajectories import actions_of, frames_driven, past_of, read_known
from vgen.state.predict import _past
from vgen.train.objectives.bodies import BodyConfig
from vgen.train.objectives.ego import EgoConfig, EgoObjective
from vgen.train.objectives.ego_data import EgoBodyConfig
from vgen.train.objectives.state_data import BodyEpisodes
from vgen.trajectory.files import TrajectoryFile, read_trajectory, write_trajectory
from vgen.trajectory.statistics import Statistics
from vgen.trajectory.trajectory import Trajectory, find_layout

T, FPS = 41, 10
CAMERA = "observation.images.main"


def turning():
    """A hand that goes round, its yaw written in -pi to pi; [T, 7]."""
    time = np.arange(T) / FPS
    yaw = (2.9 + 0.15 * time + np.pi) % (2 * np.pi) - np.pi
    columns = [
        0.1 * time**2,
        0.1 * np.sin(time),
        0.1 * np.cos(time),
        0.3 + 0.2 * time,
        0.4 - 0.3 * time,
        yaw,
        time % 2 < 1,
    ]
    return np.stack(columns, 1).astype(np.float32)


def branched(values):
    """The same motion in the other angles, in every second row."""
    roll, pitch, yaw = values[::2, 3:6].T
    values = values.copy()
    values[::2, 3:6] = np.stack([roll + np.pi, np.pi - pitch, yaw + np.pi], 1)
    return values


@pytest.fixture(scope="module", params=["as it is", "in two branches"])
def root(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("angles")
    save_tiny_wan(folder / "wan")
    values = turning() if request.param == "as it is" else branched(turning())
    writer = LeRobotWriter(folder / "hands", FPS, {"observation.state": find_layout("pose7").names}, [CAMERA])
    for _ in range(2):
        writer.add_episode({"observation.state": values}, {CAMERA: np.zeros((T, 16, 32, 3), np.uint8)}, "turn")
    writer.finish()
    write_trajectory(folder / "hand.npz", Trajectory(values, np.arange(T) / FPS, layout="pose7"))
    return folder


def data(root):
    return DataConfig(dataset=str(root / "hands"), camera="main", cache=str(root / "cache"), held_out=0.5)


def config_of(root, form, **change):
    body = EgoBodyConfig(data=data(root), layout="pose7", form=form)
    given = {
        "data": data(root),
        "latents": str(root / "latents"),
        "latent_workers": 1,
        "pretrained": str(root / "wan"),
        "adapter": {"width": 16, "heads": 2},
        "frames": 9,
        "batch": 1,
        "ego_batch": 1,
        "validation_clips": 1,
        "bodies": [body],
    }
    return EgoConfig(**given | change)


def inputs(config):
    objective = EgoObjective(config, seed=0)
    objective.prepare()
    return objective


def in_kilometres(known):
    return dataclasses.replace(known, centre=known.centre / 1000, spread=known.spread / 1000)


def plain(form):
    return Statistics("pose7", form, "mean_std", np.zeros(10), np.ones(10))


def rolled(known, form, reach):
    """The rows that a rollout at frame START tells the network of, past and future."""
    actions = actions_of(known, FPS, frames_driven(known, FPS), form, past_of(known, FPS, reach))
    return torch.cat([timed_actions([part], plain(form), 0).values[0] for part in (actions.past, actions.future)])


@pytest.mark.parametrize("form", ["absolute", "relative", "delta"])
def test_training_rollouts_and_the_benchmark_read_one_file_alike(root, form):
    objective = inputs(config_of(root, form, clips=1))
    (body,), name = objective.bodies, str(root / "hands")
    trained = timed_actions([body._through(body.clips.number(0, START))], plain(form), -body._reach).values[0]
    assert trained.shape == (25 - (form == "delta"), 10)
    assert np.abs(np.diff(trained[:, :9], axis=0)).max() < 0.05  # through pi, without a jump
    file = read_known(TrajectoryFile(root / "hand.npz"), START / FPS, None)
    episode = open_observation(Start(name, START, 0), (16, 32), "pose7", "observation.state", needed=True).recorded
    measured = timed_actions([read_trajectory(TrajectoryFile(root / "hand.npz"))], plain(form), -START).values[0]
    rows = [rolled(file, form, body._reach), rolled(episode, form, body._reach), measured]
    for each in rows:
        np.testing.assert_allclose(each[: len(trained)], trained, atol=2e-6)


def test_the_front_end_takes_rows_as_wide_as_the_network_reads_them(root):
    objective = inputs(config_of(root, "absolute"))
    assert objective.ego.config.layouts == {"pose7": 10}
    loss, _ = objective(objective.batch(0, 0, 1, 0.0))
    assert torch.isfinite(loss).all()


def test_stage_one_reads_steps_alike_in_training_and_in_use(root):
    body = BodyEpisodes(BodyConfig(data=data(root), layout="pose7", normalisation="mean_std"), 16)
    episode = body.trained.episodes[0]
    statistics = body.normalise(None, 1, 0)
    assert statistics.centre.shape == (10,)
    model = SimpleNamespace(config=SimpleNamespace(layouts={"pose7": 10}, history=8), statistics={"pose7": statistics})
    used, valid = _past(model, "pose7", read_trajectory(TrajectoryFile(root / "hand.npz")), float(FPS))
    assert valid.all()
    np.testing.assert_allclose(
        used[0], statistics.normalise(episode.steps)[-8:], atol=2e-4
    )  # in shares of small spreads


def test_data_in_another_unit_than_a_pretrained_model_knows_is_refused(root):
    own = Statistics.fit([read_trajectory(TrajectoryFile(root / "hand.npz"))], "mean_std")
    objective = EgoObjective(config_of(root, "absolute", clips=1), seed=0)
    objective.ego.register_to_config(statistics={"pose7": own.to_json()})
    objective.prepare()
    objective.ego.register_to_config(statistics={"pose7": in_kilometres(own).to_json()})
    with pytest.raises(InputError, match=r"^column observation.state of .*hands: x=.*give it in m"):
        objective.prepare()


def test_stage_one_is_held_against_what_it_knows_too(root):
    body = BodyEpisodes(BodyConfig(data=data(root), layout="pose7", normalisation="mean_std"), 16)
    known = body.normalise(None, 1, 0)
    body.normalise(known, 1, 0)
    with pytest.raises(InputError, match=r"^column observation.state of .*hands: x=.*give it in m"):
        body.normalise(in_kilometres(known), 1, 0)
