import dataclasses
import json

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan
from omegaconf import OmegaConf
from test_codec import MODEL
from transformers import CLIPVisionConfig, CLIPVisionModel

from vgen.backbone.codec import WanCodec
from vgen.data.lerobot import LeRobotDataset
from vgen.data.lerobot_writer import LeRobotWriter
from vgen.data.video import to_unit
from vgen.ego.convert import to_delta
from vgen.ego.normalise import Statistics
from vgen.ego.state_model import StateModel
from vgen.ego.trajectory import LAYOUTS, Trajectory
from vgen.errors import InputError
from vgen.train.config import load_config
from vgen.train.loop import train
from vgen.train.objectives.data import DataConfig
from vgen.train.objectives.state import StateObjective, StateObjectiveConfig
from vgen.train.objectives.state_data import StateEpisode
from vgen.train.objectives.state_scores import Scores

LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}
T = 11
CAMERA = "observation.images.main"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data set of 6 episodes, in which the hand goes right or left and the picture grows brighter or darker; and a
    tiny codec."""
    folder = tmp_path_factory.mktemp("state")
    writer = LeRobotWriter(folder / "hands", 10, {"observation.state": ["x", "y", "z", "gripper"]}, [CAMERA])
    for episode in range(6):
        way = 1 if episode % 2 else -1
        time = np.arange(T, dtype=np.float32)
        state = np.stack([0.1 * way * time, 0.01 * time**2, np.full(T, 0.2 * episode), time > 5], 1).astype(np.float32)
        brightness = (120 + 10 * way * time).astype(np.uint8)
        video = np.broadcast_to(brightness[:, None, None, None], (T, 16, 16, 3)).copy()
        writer.add_episode({"observation.state": state}, {CAMERA: video}, "go right" if way > 0 else "go left")
    writer.finish()
    torch.manual_seed(0)
    codec = MODEL | {"latents_mean": [0.0] * 4, "latents_std": [1.0] * 4, "scale_factor_spatial": 8}
    AutoencoderKLWan(**codec).save_pretrained(folder / "vae")
    CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=32,
            patch_size=8,
        )
    ).save_pretrained(folder / "clip")
    return folder


@pytest.fixture
def config(root):
    data = DataConfig(dataset=str(root / "hands"), cache=str(root / "cache"), held_out=0.34)
    return StateObjectiveConfig(
        data=data,
        layout="position4",
        codec=str(root / "vae"),
        latents=str(root / "cache"),
        latent_workers=1,
        llama=LLAMA,
        states=2,
        history=3,
        horizon=4,
        head_width=16,
        text_tokens=16,
        batch=4,
        validation_windows=6,
    )


@pytest.fixture
def objective(config):
    objective = StateObjective(config, seed=3)
    objective.prepare()
    return objective


def batch_of(objective, question, number):
    return objective._batch(objective.trained, objective.windows, [number], question, [False])


@pytest.mark.parametrize("present", [0, 1, 5, 9])
def test_a_policy_is_told_of_the_past_and_asked_for_what_follows(objective, root, present):
    batch = batch_of(objective, "policy", 10 + present)  # of the second trained episode: each has 10 windows
    place = objective.data.footage.source(objective.data.train.places[1])
    dataset = LeRobotDataset(root / "hands")
    state = dataset.episode(place).columns["observation.state"]
    statistics = objective.model.statistics["position4"]
    moves = np.concatenate([np.diff(state[:, :3], axis=0), state[1:, 3:]], 1)  # a gripper is as it is on arrival
    moves = ((moves - statistics.centre) / statistics.spread).clip(-1, 1)
    for name, times in (("past", [-2, -1, 0]), ("next", [1, 2, 3, 4])):
        for i, time in enumerate(times):
            step = present + time - 1  # leads from frame present + time - 1 to the next one
            assert batch[f"{name}_valid"][0, i].item() == (0 <= step < T - 1)
            if 0 <= step < T - 1:
                assert np.allclose(batch[name][0, i], moves[step], atol=1e-5)
    codec = WanCodec(AutoencoderKLWan.from_pretrained(root / "vae").eval())
    frames = dataset.frames(place, "main")
    for i, time in enumerate([-1, 0]):
        assert batch["frames_valid"][0, i].item() == (present + time >= 0)
        picture = to_unit(torch.from_numpy(frames[max(0, present + time)]).permute(2, 0, 1)[None])
        with torch.autocast("cpu", torch.bfloat16):  # as the cache does
            seen = codec.encode_image(picture)[0, :, 0]
        assert torch.allclose(batch["latents"][0, i].float(), seen, atol=0.02)
    assert batch["prompt"] == batch["text"] == [dataset.episode(place).task]


def test_inverse_dynamics_sees_the_frames_and_is_told_of_no_action(objective):
    batch = batch_of(objective, "inverse_dynamics", 7)
    assert batch["frame_times"].tolist() == [0, 1, 2, 3, 4]
    assert batch["frames_valid"].tolist() == [[True, True, True, True, False]]
    assert batch["past"].shape == (1, 0, 4)
    assert batch["next_valid"].tolist() == [[True, True, True, False]]
    assert torch.equal(batch["latents"][0, 3], batch["latents"][0, 4])  # the last frame stands in


def test_batches_are_repeatable_and_ask_one_question_on_every_rank(objective):
    questions = set()
    for step in range(20):
        first, again, other = (objective.batch(step, rank, 2, 0.0) for rank in (0, 0, 1))
        assert all(torch.equal(first[key], again[key]) for key in first if torch.is_tensor(first[key]))
        assert first["prompt"] == again["prompt"]
        assert first["past"].shape == other["past"].shape and not torch.equal(first["next"], other["next"])
        questions.add(first["past"].shape[1])
        assert all(prompt in ("", text) for prompt, text in zip(first["prompt"], first["text"], strict=True))
    assert questions == {0, 3}


def test_the_loss_is_per_sample_and_reaches_all_but_the_codec(objective):
    for question in ("policy", "inverse_dynamics"):
        batch = objective._batch(objective.trained, objective.windows, [0, 5, 9], question, [True] * 3)
        loss, metrics = objective(batch)
        assert loss.shape == (3,) and set(metrics) == {f"loss/action_{question}", "loss/text"}
        loss.mean().backward()
        assert objective.tokens(batch) == 3 * {"policy": 2 * 1 + 3 + 4, "inverse_dynamics": 5 * 1 + 4}[question]
    grads = {name: weight.grad is not None for name, weight in objective.named_parameters() if weight.requires_grad}
    assert all(grads.values()), [name for name, reached in grads.items() if not reached]
    assert not any("vae" in name for name in grads)


def test_held_out_episodes_are_not_trained_on(objective):
    assert (len(objective.windows), len(objective.held_windows)) == (4 * (T - 1), 2 * (T - 1))
    scores = objective.validate(0, 2) | objective.validate(1, 2)
    assert scores.keys() == {"text_accuracy"} | {
        f"{error}/{question}{baseline}"
        for error in ("displacement", "final_displacement")
        for question in ("policy", "inverse_dynamics")
        for baseline in ("", "_stay_put", "_constant_velocity")
    }
    assert scores["final_displacement/policy_stay_put"] > scores["displacement/policy_stay_put"] > 0


def test_displacement_errors_are_those_of_geometry():
    """Three metres on a straight line, one a step: at rest one is 1, 2, 3 away; at constant velocity 0."""
    rows = np.zeros((5, 4), np.float32)
    rows[:, 0] = np.arange(5)
    truth = Trajectory(rows, np.arange(5) / 10, None, "position4", "absolute")
    statistics = Statistics.fit([to_delta(truth)], "mean_std")
    scores = Scores([StateEpisode([0] * 5, truth, to_delta(truth), "")], statistics, 3)
    true_steps = statistics.normalise(to_delta(truth))[1:4]
    scores.add_actions("policy", [(0, 1)], true_steps[None])
    scores.add_actions("late", [(0, 1)], (true_steps + np.float32([[0.5, 0, 0, 0]]))[None])  # half a metre a step
    scores.add_actions("start", [(0, 0)], true_steps[None])
    scores.add_texts(["go", "stop"], ["go", "go"])
    means = scores.means()
    assert means["displacement/policy"] == pytest.approx(0, abs=1e-5)
    assert means["displacement/late"] == pytest.approx((0.5 + 1 + 1.5) / 3)
    assert means["final_displacement/late"] == pytest.approx(1.5)
    assert (means["displacement/policy_stay_put"], means["final_displacement/policy_stay_put"]) == (2, 3)
    assert means["displacement/policy_constant_velocity"] == 0
    assert means["displacement/start_constant_velocity"] == 2  # no step before the first frame
    assert means["text_accuracy"] == 0.5


def test_a_clip_tower_sees_pixels(config, root):
    config.codec, config.clip, config.clip_side = None, str(root / "clip"), 2
    objective = StateObjective(config, seed=3)
    objective.prepare()
    batch = objective._batch(objective.trained, objective.windows, [0, 5], "policy", [True] * 2)
    assert batch["pixels"].shape == (2, 2, 3, 16, 16) and batch["pixels"].dtype == torch.uint8
    loss, _ = objective(batch)
    assert loss.isfinite().all()
    assert objective.tokens(batch) == 2 * (2 * 4 + 3 + 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codec": None}, "objective.codec and objective.clip"),
        ({"llama": {}}, "objective.trunk and objective.llama"),
        ({"layout": "position5"}, "nearest: 'position4'"),
        ({"layout": "pose7"}, "column observation.state is no trajectory of layout pose7: .*4 columns"),
        ({"column": "observation.stat"}, "nearest: 'observation.state'"),
        ({"trained": "some"}, "choose one of: all, lora, none"),
        ({"data": DataConfig(cache="cache")}, "objective.data.dataset"),
        ({"codec": "absent"}, "no folder of an AutoencoderKLWan"),
    ],
)
def test_what_is_refused(config, change, message):
    for key, value in change.items():
        setattr(config, key, value)
    with pytest.raises(InputError, match=message):
        StateObjective(config, 0).prepare()


@pytest.fixture
def new_layout(monkeypatch):
    """A layout that no model has seen."""
    name = "other4"
    monkeypatch.setitem(LAYOUTS, name, dataclasses.replace(LAYOUTS["position4"], name=name))


def test_the_recipe_trains_and_its_model_goes_on(config, root, tmp_path, new_layout):
    keys = {"run": str(tmp_path / "run"), "steps": 50, "log_every": 10, "ema_decay": 0, "optimizer": {"lr": 0.003}}
    keys |= {"schedule": {"warmup_steps": 2}, "objective": OmegaConf.structured(config)}
    OmegaConf.save(OmegaConf.create(keys), tmp_path / "recipe.yaml")
    run = train(load_config(tmp_path / "recipe.yaml"))
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    first, *_, last = [record for record in log if record["kind"] == "train"]
    assert last["loss"] < 0.85 * first["loss"]
    assert last["loss/text"] < 0.6 * first["loss/text"]
    assert any("displacement/policy" in record for record in log)
    state = run / "model" / "state"
    model = StateModel.from_pretrained(state, WanCodec(AutoencoderKLWan.from_pretrained(root / "vae").eval()))
    assert model.see(torch.zeros(1, 2, 3, 16, 16)).shape == (1, 2, 1, 16)
    config.llama, config.pretrained, config.horizon, config.layout = {}, str(state), 3, "other4"
    again = StateObjective(config, 0)
    kept, before = again.model.state_dict(), model.state_dict()
    assert all(torch.equal(kept[name], weight) for name, weight in before.items())
    assert {name.split(".")[-2] for name in kept.keys() - before.keys()} == {"0", "2", "4", "other4"}
    again.prepare()
    assert again.model.statistics.keys() == {"position4", "other4"}
    assert again.model.statistics["position4"].to_json() == model.statistics["position4"].to_json()
    loss, _ = again(again.batch(0, 0, 1, 0.0))
    assert loss.isfinite().all()
    for change, message in (
        ({"llama": LLAMA}, "has its own"),
        ({"head": "regression"}, "that of .* is flow"),
        ({"codec": None}, "is needed"),
    ):
        with pytest.raises(InputError, match=message):
            StateObjective(dataclasses.replace(config, **change), 0)
