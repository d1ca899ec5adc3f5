"""A model of a layout with Euler angles: worlds, policies and inverse dynamics take and give angles."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ego_models import SIZE, save_front_end, save_model
from trajectory_samples import sample

from vgen.backbone.codec import WanCodec
from vgen.backbone.transformer import VideoTransformer
from vgen.ego.rollout import RolloutSettings
from vgen.ego.world import EgoWorld
from vgen.errors import InputError
from vgen.models import EGO, ModelInfo
from vgen.state.model import StateModel
from vgen.state.predict import inverse_dynamics, policy
from vgen.trajectory.convert import convert
from vgen.trajectory.statistics import Statistics

LAYOUT = "pose7"
FRAMES = np.zeros((3, *SIZE, 3), np.uint8)


@pytest.fixture(scope="module")
def folder(tiny_model, vae, tmp_path_factory):
    return save_model(tiny_model, tmp_path_factory.mktemp("orientation") / "model", vae, (LAYOUT,))


def branched(trajectory):
    """The same motion in the other angles."""
    values = trajectory.values.copy()
    roll, pitch, yaw = values[:, 3:6].T
    values[:, 3:6] = np.stack([roll + np.pi, np.pi - pitch, yaw + np.pi], 1)
    return replace(trajectory, values=values)


def rolled(world, rows):
    world.reset(FRAMES[0])
    return world.step(rows)


def test_a_world_makes_one_video_of_one_motion(folder):
    world = EgoWorld.from_pretrained(folder, settings=RolloutSettings(steps=1))
    given = sample(LAYOUT, rows=4)
    made = rolled(world, given.values)
    assert np.abs(made.astype(int) - rolled(world, branched(given).values)).max() <= 1
    still = given.values.copy()
    still[:, 3:6] = 0
    assert np.abs(made.astype(int) - rolled(world, still)).max() > 1  # the orientation counts


def test_an_environment_takes_angles(folder):
    pytest.importorskip("gymnasium")
    environment = pytest.importorskip("vgen.ego.environment")
    world = EgoWorld.from_pretrained(folder)
    assert environment.EgoEnvironment(world, FRAMES[0]).action_space.shape == (4, 7)


def test_stage_one_predicts_angles_from_angles(folder, vae):
    model = StateModel.from_pretrained(folder / "state", WanCodec(vae))
    past = sample(LAYOUT, rows=8, rate=10.0)
    answers = [
        policy(model, LAYOUT, FRAMES, each, generator=torch.Generator().manual_seed(0))
        for each in (past, branched(past))
    ]
    (one, _), (other, _) = answers
    assert one.values.shape[1] == 7 and one.form == "absolute"
    start = past.rows(7, 8)
    assert np.allclose(convert(one, "relative").values, convert(other, "relative").values, atol=1e-4)
    found = inverse_dynamics(model, LAYOUT, FRAMES, replace(start, times=[0.0]))
    assert found.values.shape == (3, 7) and np.abs(found.values[:, 3:6]).max() <= np.pi + 1e-6


def test_a_model_of_angles_as_they_were_recorded_is_refused_before_it_is_loaded(tiny_model, tmp_path, vae, monkeypatch):
    made = save_model(tiny_model, tmp_path / "old", vae, (LAYOUT,), parts=())
    transformer = VideoTransformer.from_pretrained(made, subfolder="transformer", condition_attention="joint")
    monkeypatch.setattr("vgen.trajectory.statistics.Statistics.__post_init__", lambda self: None)  # as it once was
    save_front_end(made, transformer, {LAYOUT: 7}, "absolute")
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"pose7 hold 7 columns of Euler angles; .* 10 columns: train it anew"):
        Statistics.from_json(ModelInfo.read(made, (EGO,)).statistics_of(LAYOUT))
    with pytest.raises(InputError, match="train it anew"):
        EgoWorld.from_pretrained(made)
