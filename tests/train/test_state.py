import dataclasses
import json
import shutil
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan
from omegaconf import OmegaConf
from tiny_parts import tiny_codec
from transformers import CLIPVisionConfig, CLIPVisionModel

from vgen.backbone.codec import WanCodec
from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.data.lerobot.writer import LeRobotWriter
from vgen.data.opening import DataConfig
from vgen.errors import InputError
from vgen.media.pixels import to_unit
from vgen.state.model import StateModel
from vgen.train.config import load_config
from vgen.train.loop import train
from vgen.train.model_at import model_at
from vgen.train.objectives.bodies import BodyConfig
from vgen.train.objectives.state import StateObjective, StateObjectiveConfig, _rates
from vgen.train.objectives.state_scores import Future, Scores
from vgen.trajectory.convert import to_delta
from vgen.trajectory.statistics import Statistics
from vgen.trajectory.trajectory import LAYOUTS, Trajectory

LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}
T = 11
LONG = 25  # frames of the second body's episodes, two for each step
CAMERA = "observation.images.main"
POSE = ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]
QUESTIONS = ("policy", "inverse_dynamics")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data set of 6 episodes, in which the hand goes right or left and the picture grows brighter or darker; one of 3
    episodes of another body, at twice the rate; and a tiny codec."""
    folder = tmp_path_factory.mktemp("state")
    poses = LeRobotWriter(folder / "poses", 20, {"observation.state": POSE}, [CAMERA])
    for episode in range(3):
        rows = np.zeros((LONG, 7), np.float32)
        rows[:, episode] = 0.05 * np.arange(LONG)
        video = np.full((LONG, 16, 16, 3), 40 * episode, np.uint8)
        poses.add_episode({"observation.state": rows}, {CAMERA: video}, "turn")
    poses.finish()
    write_hands(folder / "hands", 0.1)
    tiny_codec().save_pretrained(folder / "vae")
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


def write_hands(folder, speed):
    writer = LeRobotWriter(folder, 10, {"observation.state": ["x", "y", "z", "gripper"]}, [CAMERA])
    for episode in range(6):
        way = 1 if episode % 2 else -1
        time = np.arange(T, dtype=np.float32)
        state = np.stack([speed * way * time, 0.01 * time**2, np.full(T, 0.2 * episode), time > 5], 1)
        brightness = (120 + 10 * way * time).astype(np.uint8)
        video = np.broadcast_to(brightness[:, None, None, None], (T, 16, 16, 3)).copy()
        told = "go right" if way > 0 else "go left"
        writer.add_episode({"observation.state": state.astype(np.float32)}, {CAMERA: video}, told)
    writer.finish()


@pytest.fixture
def config(root):
    data = DataConfig(dataset=str(root / "hands"), cache=str(root / "cache"), held_out=0.34)
    return StateObjectiveConfig(
        bodies=[BodyConfig(data=data, layout="position4")],
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


@pytest.fixture
def two(config, root):
    """The objective with a second body, of 20 fps taken at 10."""
    data = DataConfig(dataset=str(root / "poses"), cache=str(root / "cache"), held_out=0.34, fps=10)
    config.bodies.append(BodyConfig(data=data, layout="pose7", share=2))
    objective = StateObjective(config, seed=3)
    objective.prepare()
    return objective


def ask(objective, numbers, question, mute=False):
    body = objective.bodies[0]
    return body.trained.batch(numbers, objective.choose_window(question), mute)


def tensors(batch):
    return [value for value in vars(batch).values() if torch.is_tensor(value)]


def batch_of(objective, question, number):
    return ask(objective, [number], question)


@pytest.mark.parametrize("present", [0, 1, 5, 9])
def test_a_policy_is_told_of_the_past_and_asked_for_what_follows(objective, root, present):
    batch = batch_of(objective, "policy", 10 + present)  # of the second trained episode: each has 10 windows
    assert batch.next.shape[1] == 4
    place = [0, 2, 3, 5][1]  # two of six episodes are held out, evenly spread: 1 and 4
    dataset = LeRobotDataset(root / "hands")
    state = dataset.episode(place).columns["observation.state"]
    statistics = objective.model.statistics["position4"]
    moves = np.concatenate([np.diff(state[:, :3], axis=0), state[1:, 3:]], 1)  # a gripper is as it is on arrival
    rest = np.append(np.zeros(3), state[-1, 3])
    moves, rest = (((rows - statistics.centre) / statistics.spread).clip(-1, 1) for rows in (moves, rest))
    for name, times in (("past", [-2, -1, 0]), ("next", [1, 2, 3, 4])):
        for i, time in enumerate(times):
            step = present + time - 1  # leads from frame present + time - 1 to the next one
            there = 0 <= step < T - 1
            assert getattr(batch, f"{name}_valid")[0, i].item() == (
                there or name == "next"
            )  # which after the end is to rest
            if there or name == "next":
                assert np.allclose(getattr(batch, name)[0, i], moves[step] if there else rest, atol=1e-5)
    codec = WanCodec(AutoencoderKLWan.from_pretrained(root / "vae").eval())
    frames = dataset.frames(place, "main")
    for i, time in enumerate([-1, 0]):
        assert batch.frames_valid[0, i].item() == (present + time >= 0)
        picture = to_unit(torch.from_numpy(frames[max(0, present + time)]).permute(2, 0, 1)[None])
        with torch.autocast("cpu", torch.bfloat16):  # as the cache does
            seen = codec.encode_image(picture)[0, :, 0]
        assert torch.allclose(batch.frames[0, i].float(), seen, atol=0.02)
    assert batch.prompt == batch.text == [dataset.episode(place).task]


def test_inverse_dynamics_sees_the_frames_and_is_told_of_no_action(objective):
    batch = batch_of(objective, "inverse_dynamics", 7)
    assert batch.frame_times.tolist() == [0, 1, 2, 3, 4]
    assert batch.frames_valid.tolist() == [[True, True, True, True, False]]
    assert batch.past.shape == (1, 0, 4)
    assert batch.next_valid.tolist() == [[True, True, True]]
    assert torch.equal(batch.frames[0, 3], batch.frames[0, 4])  # the last frame stands in


def test_batches_are_repeatable_and_ask_one_question_on_every_rank(objective):
    questions, mute = set(), set()
    for step in range(20):
        first, again, other = (objective.batch(step, rank, 2, 0.0) for rank in (0, 0, 1))
        assert all(torch.equal(*pair) for pair in zip(tensors(first), tensors(again), strict=True))
        assert first.prompt == again.prompt
        assert first.past.shape == other.past.shape and not torch.equal(first.next, other.next)
        questions.add(first.past.shape[1])
        assert first.prompt in ([""] * 4, first.text)
        mute.add(first.prompt[0] == "")
    assert (questions, mute) == ({0, 3}, {True, False})


def test_bodies_take_turns_each_with_its_own_layout_rate_and_statistics(two):
    seen = [two.batch(step, rank, 2, 0.0) for step in range(60) for rank in (0, 1)]
    names = [batch.layout for batch in seen]
    assert names[::2] == names[1::2] and 0.5 < np.mean([name == "pose7" for name in names]) < 0.85  # 2 of 3
    widths = {"position4": 4, "pose7": 10}  # as the network reads them
    for batch in seen[:20]:
        assert batch.next.shape[-1] == batch.past.shape[-1] == widths[batch.layout]
        loss, _ = two(batch)
        assert loss.shape == (4,) and loss.isfinite().all()
    assert two.model.config.layouts == widths and two.model.config.rates == {"position4": 10, "pose7": 10}
    assert two.model.statistics.keys() == widths.keys()
    assert len(two.bodies[1].trained.windows) == 2 * (LONG // 2)  # every other frame of two episodes
    scores = two.validate(0, 1, Mock())
    assert {"displacement/position4/policy", "displacement/pose7/policy", "text_accuracy"} <= scores.keys()
    two.bodies[1].rate = 20.0
    two.bodies[1].config.layout = "position4"
    with pytest.raises(InputError, match="position4 comes at 10 and 20 fps"):
        _rates(two.bodies)


def test_every_rank_scores_as_many_windows(objective, monkeypatch):
    """Under ZeRO 3 all of them call the model together, also where there are fewer windows than ranks."""
    seen = []
    monkeypatch.setattr(objective, "_score", lambda scores, body, numbers, seed: seen.append(len(numbers)))
    for rank in range(24):
        after_batch = Mock()
        objective.validate(rank, 24, after_batch)
        assert after_batch.call_count == 1
    assert len(objective.bodies[0].held_out.windows) < 24 and seen == [1] * 24


def test_inverse_dynamics_may_look_less_far_than_a_policy(config):
    config.inverse_horizon = 2
    objective = StateObjective(config, seed=3)
    objective.prepare()
    assert objective.model.config.inverse_steps == 2
    assert batch_of(objective, "inverse_dynamics", 0).frame_times.tolist() == [0, 1, 2]
    assert batch_of(objective, "inverse_dynamics", 0).next.shape == (1, 2, 4)
    assert batch_of(objective, "policy", 0).next.shape == (1, 4, 4)


def test_the_loss_is_per_sample_and_reaches_all_but_the_codec(objective):
    for question in ("policy", "inverse_dynamics"):
        batch = ask(objective, [0, 5, 9], question, True)
        loss, metrics = objective(batch)
        assert loss.shape == (3,) and set(metrics) == {f"loss/position4/{question}", "loss/text"}
        loss.mean().backward()
        assert objective.tokens(batch) == 3 * {"policy": 2 * 1 + 3 + 4, "inverse_dynamics": 5 * 1 + 4}[question]
    grads = {name: weight.grad is not None for name, weight in objective.named_parameters() if weight.requires_grad}
    assert all(grads.values()), [name for name, reached in grads.items() if not reached]
    assert not any("vae" in name for name in grads)


def test_texts_that_are_cut_off_are_told_in_one_line(config, caplog):
    StateObjective(dataclasses.replace(config, text_tokens=6), seed=3).prepare()
    (line,) = (record.getMessage() for record in caplog.records if "cut off" in record.getMessage())
    assert line.startswith('2 of 2 captions have more than the 6 tokens that the state model reads; of "go left"')


def test_held_out_episodes_are_not_trained_on(objective):
    body = objective.bodies[0]
    assert (len(body.trained.windows), len(body.held_out.windows)) == (4 * (T - 1), 2 * (T - 1))
    scores = objective.validate(0, 2, Mock()) | objective.validate(1, 2, Mock())
    assert scores.keys() == {"text_accuracy"} | {
        f"{error}/position4/{answer}"
        for error in ("displacement", "final_displacement")
        for answer in (f"{q}{b}" for q in QUESTIONS for b in ("", "_mean8", "_stay_put", "_constant_velocity"))
    }
    at_rest = [scores[f"{error}/position4/policy_stay_put"] for error in ("final_displacement", "displacement")]
    assert at_rest[0] > at_rest[1] > 0


def test_the_mean_of_draws_is_scored_beside_one_of_them(objective, monkeypatch):
    """Where draws lie evenly to both sides of the truth, their mean is right and each is not."""
    objective.model.statistics["position4"] = dataclasses.replace(
        objective.model.statistics["position4"], centre=np.zeros(4), spread=np.ones(4)
    )
    body = objective.bodies[0]

    def draw(known, prompts, draws, generator, count):
        steps = [body.held_out.windows.present(n) for n in numbers]
        truth = [body.held_out.episodes[e].steps.values[p : p + count] for e, p in steps]
        rows = torch.zeros(draws, len(truth), count, 4)
        for i, row in enumerate(truth):
            rows[:, i, : len(row)] = torch.from_numpy(np.asarray(row))
        rows[::2] += 0.1
        rows[1::2] -= 0.1
        return rows

    monkeypatch.setattr(objective.model, "draw", draw)
    scores, numbers = Scores(), [0, 4, 12]
    objective._score(scores, body, numbers, 0)
    means = scores.means()
    assert means["displacement/position4/policy_mean8"] == pytest.approx(0, abs=1e-5)
    assert means["displacement/position4/policy"] > 0.1


def test_displacement_errors_are_those_of_geometry():
    """Three metres on a straight line, one a step: at rest one is 1, 2, 3 away; at constant velocity 0."""
    rows = np.zeros((5, 4), np.float32)
    rows[:, 0] = np.arange(5)
    truth = Trajectory(rows, np.arange(5) / 10, None, "position4", "absolute")
    statistics = Statistics.fit([to_delta(truth)], "mean_std")
    scores, present, first = Scores(), Future(truth, 1), Future(truth, 0)
    true_steps = statistics.normalise(to_delta(truth))[1:4]
    late = (true_steps + np.float32([[0.5, 0, 0, 0]]))[None]  # half a metre a step
    scores.add_actions("policy", [present], true_steps[None], statistics)
    scores.add_actions("late", [present], late, statistics)
    scores.add_baselines("policy", [present], 3)
    scores.add_baselines("start", [first], 3)
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
    batch = ask(objective, [0, 5], "policy", True)
    assert batch.frames.shape == (2, 2, 3, 16, 16) and batch.frames.dtype == torch.uint8
    loss, _ = objective(batch)
    assert loss.isfinite().all()
    assert objective.tokens(batch) == 2 * (2 * 4 + 3 + 4)


def test_an_episode_without_a_finite_row_is_left_out(config, tmp_path, caplog):
    writer = LeRobotWriter(tmp_path / "gaps", 10, {"observation.state": ["x", "y", "z", "gripper"]}, [CAMERA])
    for episode in range(6):
        state = np.full((T, 4), np.nan if episode == 1 else 0.1 * episode, np.float32)
        writer.add_episode({"observation.state": state}, {CAMERA: np.zeros((T, 16, 16, 3), np.uint8)}, "stay")
    writer.finish()
    config.bodies[0].data = DataConfig(
        dataset=str(tmp_path / "gaps"), cache=str(tmp_path / "cache"), held_out=0.34, max_bad_share=0.3
    )
    objective = StateObjective(config, seed=0)
    objective.prepare()
    assert "left out: episode 1 (no row of observation.state is finite)" in caplog.text
    loss, _ = objective(objective.batch(0, 0, 1, 0.0))
    assert loss.isfinite().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codec": None}, "objective.codec and objective.clip"),
        ({"llama": {}}, "objective.trunk and objective.llama"),
        ({"bodies": []}, "objective.bodies is empty"),
        ({"inverse_horizon": 0}, "inverse_horizon=0 is not positive"),
        ({"trained": "some"}, "choose one of: all, lora, none"),
        ({"codec": "absent"}, "no folder of an AutoencoderKLWan"),
    ],
)
def test_what_is_refused(config, change, message):
    for key, value in change.items():
        setattr(config, key, value)
    with pytest.raises(InputError, match=message):
        StateObjective(config, 0).prepare()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layout": "position5"}, "nearest: 'position4'"),
        ({"layout": "pose7"}, "column observation.state is no trajectory of layout pose7: .*4 columns"),
        ({"column": "observation.stat"}, "nearest: 'observation.state'"),
        ({"share": 0}, r"the shares \[0.0\] must be positive"),
        ({"normalisation": "mean"}, "nearest"),
        ({"data": DataConfig(cache="cache")}, "data.dataset of each is needed"),
    ],
)
def test_what_is_refused_of_a_body(config, change, message):
    config.bodies[0] = dataclasses.replace(config.bodies[0], **change)
    with pytest.raises(InputError, match=message):
        StateObjective(config, 0).prepare()


@pytest.fixture
def new_layout(monkeypatch):
    """A layout that no model has seen."""
    name = "other4"
    monkeypatch.setitem(LAYOUTS, name, dataclasses.replace(LAYOUTS["position4"], name=name))


def test_a_run_whose_data_change_goes_on_with_the_statistics_that_it_has_learned_with(config, tmp_path):
    """Otherwise the same numbers would mean other motions to weights that have learned what they mean."""
    data = config.bodies[0].data
    data.dataset, data.cache = str(tmp_path / "hands"), str(tmp_path / "cache")
    kept = []
    for steps, speed in ((1, 0.1), (2, 0.15)):
        shutil.rmtree(data.dataset, ignore_errors=True)
        write_hands(tmp_path / "hands", speed)
        keys = {"run": str(tmp_path / "run"), "steps": steps, "objective": OmegaConf.structured(config)}
        OmegaConf.save(OmegaConf.create(keys), tmp_path / "recipe.yaml")
        run = train(load_config(tmp_path / "recipe.yaml"))
        kept.append(json.loads((run / "model" / "state" / "config.json").read_text())["statistics"])
    assert kept[0] == kept[1]

    shutil.rmtree(run / "model")  # so that the model of the last step is made of its checkpoint
    with model_at(run, None, tmp_path / "made") as model:
        made = json.loads((model.folder / "state" / "config.json").read_text())["statistics"]
    assert made == kept[0]


def test_the_recipe_trains_and_its_model_goes_on(config, root, tmp_path, new_layout):
    keys = {"run": str(tmp_path / "run"), "steps": 50, "log_every": 10, "ema_decay": 0, "optimizer": {"lr": 0.003}}
    keys |= {"schedule": {"warmup_steps": 2}, "objective": OmegaConf.structured(config)}
    OmegaConf.save(OmegaConf.create(keys), tmp_path / "recipe.yaml")
    run = train(load_config(tmp_path / "recipe.yaml"))
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    first, *_, last = [record for record in log if record["kind"] == "train"]
    assert last["loss"] < 0.85 * first["loss"]
    assert last["loss/text"] < 0.6 * first["loss/text"]
    assert any("displacement/position4/policy" in record for record in log)
    state = run / "model" / "state"
    model = StateModel.from_pretrained(state, WanCodec(AutoencoderKLWan.from_pretrained(root / "vae").eval()))
    assert model.see(torch.zeros(1, 2, 3, 16, 16)).shape == (1, 2, 1, 16)
    config.llama, config.pretrained, config.horizon, config.bodies[0].layout = {}, str(state), 3, "other4"
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
