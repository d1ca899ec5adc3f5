"""Training both front-ends together: what a batch of a body holds, and that the canvas is as it was."""

import dataclasses
import json
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from tiny_wan import save_tiny_wan

from vgen.data.lerobot.writer import LeRobotWriter
from vgen.data.opening import DataConfig
from vgen.ego.pipeline import EgoPipeline
from vgen.errors import InputError
from vgen.media.pixels import to_unit
from vgen.models import TrainingRange
from vgen.models.picture_probe import latent_looks
from vgen.train.config import load_config
from vgen.train.dry_run import dry_run, report
from vgen.train.export import export
from vgen.train.loop import train
from vgen.train.memory import parameters
from vgen.train.objectives.canvas import CanvasConfig, CanvasObjective
from vgen.train.objectives.denoiser import even_times
from vgen.train.objectives.ego import EgoConfig, EgoObjective, moving_weight
from vgen.train.objectives.ego_data import EgoBodyConfig, FrameChoice
from vgen.trajectory.statistics import Statistics

T = 14  # frames of an episode
CAMERA = "observation.images.main"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A tiny Wan, and 4 episodes in which every frame and every state says its own number."""
    folder = tmp_path_factory.mktemp("ego")
    save_tiny_wan(folder / "wan")
    writer = LeRobotWriter(folder / "hands", 10, {"observation.state": ["x", "y", "z", "gripper"]}, [CAMERA])
    for episode in range(4):
        time = np.arange(T, dtype=np.float32)
        state = np.stack([time, -time, np.full(T, episode), time % 2], 1).astype(np.float32)
        video = np.broadcast_to((15 * time).astype(np.uint8)[:, None, None, None], (T, 16, 32, 3)).copy()
        writer.add_episode({"observation.state": state}, {CAMERA: video}, f"episode {episode}")
    writer.finish()
    return folder


@pytest.fixture
def config(root):
    data = DataConfig(dataset=str(root / "hands"), camera="main", cache=str(root / "cache"), held_out=0.25)
    return EgoConfig(
        data=data,
        latents=str(root / "latents"),
        latent_workers=1,
        pretrained=str(root / "wan"),
        adapter={"width": 16, "heads": 2},
        frames=9,
        batch=2,
        ego_batch=3,
        history_noise=0.2,
        validation_clips=2,
        bodies=[EgoBodyConfig(data=data, layout="position4")],
    )


@pytest.fixture
def objective(config):
    return prepared(config)


def prepared(config):
    objective = EgoObjective(config, seed=3)
    objective.prepare()
    return objective


IDENTITY = Statistics("position4", "absolute", "mean_std", np.zeros(4), np.ones(4))


def ask(objective, start, choice, form="absolute"):
    """The batch of one clip that starts at a frame of the first episode, its actions not normalised."""
    body = objective.bodies[0]
    body.encode([body.clips.number(0, start)], objective.denoiser.codec_folder, objective.config.latents, 1, None, 1, 0)
    return body.batch(0, [0], choice, dataclasses.replace(IDENTITY, form=form))


def test_first_frames_go_with_the_places_of_the_hand(objective):
    [body] = objective.bodies
    looks, places = body.pictures(4)
    latent = objective.denoiser.codec.encode_image
    for row, place in zip(looks, places, strict=True):  # x is the frame, of which every pixel says the number
        picture = torch.full((1, 3, 16, 32), round(float(place[0])) * 15 / 127.5 - 1)
        assert row == pytest.approx(latent_looks(latent(picture)[:, :, 0].numpy())[0], abs=0.1)
        assert place[1] == -place[0]
    assert len(looks) == len(body.encoded) == 3 and len(body.pictures(2)[0]) == 2


@pytest.mark.parametrize("start", [0, 3, 5])
def test_actions_arrive_with_the_frames_that_they_lead_to(objective, start):
    batch = ask(objective, start, FrameChoice(2, 4, 2, None))
    (rows,), (arrivals,) = batch.actions.values, batch.actions.arrivals
    assert arrivals.tolist() == list(range(-16, 9)) and batch.actions.valid.all()
    assert rows[:, 0].tolist() == [max(0, start + arrival) for arrival in arrivals]  # stands still before it begins


def test_steps_arrive_with_the_frames_that_they_lead_to(config):
    config.bodies[0].form = "delta"
    batch = ask(prepared(config), 3, FrameChoice(1, 4, 1, None), "delta")
    assert batch.actions.arrivals[0].tolist() == list(range(-15, 9))
    assert batch.actions.values[0, :, 0].tolist() == [float(arrival > -3) for arrival in batch.actions.arrivals[0]]


def test_known_frames_lie_before_the_clip_and_targets_in_it(objective):
    batch = ask(objective, 5, FrameChoice(3, 4, 2, 8))
    assert batch.frames.tolist() == [[0, -4, -8, 8]] and batch.chunks.t.tolist() == [[1.0, 2.0]]
    shown = batch.known[0, :, 0, 0, 0].float() / 15
    torch.testing.assert_close(shown, torch.tensor([1.0, 0, 13]), atol=0.3, rtol=0)
    clip = to_unit(torch.from_numpy(objective.bodies[0].clips.pixels(5))).permute(3, 0, 1, 2)
    whole = objective.denoiser.codec.encode_video(clip[None])
    torch.testing.assert_close(
        batch.chunks.latent.float(), whole[:, :, 1:], atol=2e-2, rtol=0
    )  # kept in half precision
    seen, goal = objective.conditions(batch)
    assert seen.t.tolist() == [[0, -1, -2]] and goal.t.tolist() == [[2]] and not seen.time.any()
    alone = objective.denoiser.codec.encode_image(clip[None, :, 0])
    torch.testing.assert_close(seen.latent[:, :, :1], alone, atol=2e-2, rtol=0)


def test_what_was_seen_is_noised_by_as_much_as_the_model_is_told_and_a_goal_is_not(objective):
    batch = ask(objective, 5, FrameChoice(2, 4, 2, 8))
    seen, goal = objective.conditions(batch)
    noisy, same = objective.conditions(dataclasses.replace(batch, noise=torch.tensor([0.2])))
    assert torch.equal(same.latent, goal.latent) and not same.time.any()
    torch.testing.assert_close(noisy.time, torch.tensor([0.2]))
    noise = (noisy.latent - 0.8 * seen.latent) / 0.2
    assert noise.std().item() == pytest.approx(1, abs=0.2) and noise.mean().item() == pytest.approx(0, abs=0.2)
    assert torch.equal(objective.conditions(dataclasses.replace(batch, noise=torch.zeros(1)))[0].latent, seen.latent)


def test_an_anchor_is_given_beside_the_history_and_stays_clean(config):
    config.anchor, config.anchor_reach, config.history, config.goal = 1.0, 20, 2, 1.0
    objective = prepared(config)
    asked = [objective.choose_frames(np.random.default_rng(seed)) for seed in range(60)]
    assert all(-20 <= choice.anchor <= -choice.spacing * choice.history for choice in asked)
    assert min(choice.anchor for choice in asked) < -15 and objective.ego.config.anchor
    batch = dataclasses.replace(ask(objective, 5, FrameChoice(2, 4, 2, 8, -5)), noise=torch.tensor([0.2]))
    assert batch.frames.tolist() == [[0, -4, -5, 8]] and batch.history == 2
    history, given = objective.conditions(batch)
    assert history.t.tolist() == [[0, -1]] and given.t.tolist() == [[-1.25, 2]]
    assert history.time.all() and not given.time.any()
    first = to_unit(torch.from_numpy(objective.bodies[0].clips.pixels(0, [0]))).permute(0, 3, 1, 2)
    torch.testing.assert_close(given.latent[:, :, :1], objective.denoiser.codec.encode_image(first), atol=2e-2, rtol=0)


def test_noise_of_what_was_seen_stays_below_its_share(objective):
    noise = torch.cat([objective.batch(step, 0, 1, 0.0).ego.noise for step in range(20)])
    assert len(noise) == 60 and 0 <= noise.min() < 0.05 and 0.15 < noise.max() <= 0.2


def test_a_single_frame_is_the_next_one_encoded_alone(objective):
    batch = ask(objective, 5, FrameChoice(2, 1, 0, None))
    assert batch.frames.tolist() == [[0, -1]] and batch.chunks.latent.shape[2] == 0
    asked = batch.target(objective.denoiser.codec)
    image = to_unit(torch.from_numpy(objective.bodies[0].clips.pixels(5, [1]))).permute(0, 3, 1, 2)
    assert torch.equal(asked.latent, objective.denoiser.codec.encode_image(image)) and asked.t.tolist() == [[0.25]]


def test_what_moves_weighs_more_and_the_mean_stays():
    present = torch.zeros(2, 3, 1, 2, 2)
    latent = torch.zeros(2, 3, 2, 2, 2)
    latent[0, :, 1, 0, 0] = 1.0  # the second sample stands still
    weight = moving_weight(latent, present, extra=2.0)
    assert weight.shape == (2, 1, 2, 2, 2)
    torch.testing.assert_close(weight.mean(dim=(1, 2, 3, 4)), torch.ones(2))
    assert weight[0, 0, 1, 0, 0] == pytest.approx(17 / 3) and weight[0, 0, 0, 0, 0] == pytest.approx(1 / 3)
    assert torch.equal(weight[1], torch.ones_like(weight[1]))
    assert torch.equal(moving_weight(latent, present, extra=0.0), torch.ones_like(weight))


def test_whole_clips_are_asked_for_as_often_as_the_config_says(config):
    config.whole, config.single = 1.0, 0.0
    objective = prepared(config)
    assert {objective.batch(step, 0, 1, 0.0).ego.chunks.t.shape[1] for step in range(8)} == {2}


def test_one_question_for_all_ranks_and_the_same_again(objective):
    kinds = set()
    for step in range(24):
        first, again, other = (objective.batch(step, part, 2, 0.0).ego for part in (0, 0, 1))
        assert first.frames.tolist() == again.frames.tolist() and first.chunks.t.equal(other.chunks.t)
        assert torch.equal(first.known, again.known) and torch.equal(first.drop, again.drop)
        assert len(first.text) == 3
        kinds.add((first.chunks.t.shape[1], first.frames.shape[1]))
    assert {chunks for chunks, _ in kinds} == {0, 1, 2} and {known for _, known in kinds} >= {1, 2, 3, 4}


def test_an_untrained_front_end_leaves_the_canvas_as_it_was(config, objective):
    shared = {f.name: getattr(config, f.name) for f in dataclasses.fields(CanvasConfig)} | {"name": "canvas"}
    canvas = CanvasObjective(CanvasConfig(**shared), seed=3)
    canvas.prepare()
    batch = objective.batch(4, 0, 1, 0.0)
    torch.manual_seed(0)
    alone, _ = canvas(batch.canvas)
    torch.manual_seed(0)
    both, metrics = objective(batch)
    assert torch.equal(both[:2], alone) and len(both) == 5
    assert torch.equal(metrics["loss/canvas"], alone.detach()) and metrics["loss/ego"].shape == (3,)


def test_the_loss_teaches_backbone_and_front_end(objective):
    with torch.no_grad():
        for parameter in objective.ego.injections.parameters():
            parameter.normal_(std=0.1)
    step = next(n for n in range(20) if not objective.batch(n, 0, 1, 0.0).ego.drop.all())
    objective(objective.batch(step, 0, 1, 0.0))[0].mean().backward()
    for part in (objective.transformer.blocks, objective.ego.injections, objective.ego.fuse.projections):
        assert any(p.grad is not None and p.grad.abs().max() > 0 for p in part.parameters())
    assert all(p.grad is None for p in objective.vae.parameters())


def test_held_out_losses_are_told_with_actions_and_without(objective):
    results = objective.validate(0, 1, Mock())
    asked = {"loss_ego", "loss_ego_without_actions", "loss_ego_noisy", "loss_ego_noisy_without_actions"}
    assert results.keys() == {"loss"} | asked
    assert results["loss_ego"] == results["loss_ego_without_actions"]  # untrained, actions change nothing
    with torch.no_grad():
        for parameter in objective.ego.injections.parameters():
            parameter.normal_(std=0.5)
    after_batch = Mock()
    changed = objective.validate(0, 1, after_batch)
    held = [each.held for each in objective.canvases.sets] + [body.encoded for body in objective.held_bodies]
    assert after_batch.call_count == sum(1 for clips in held for _ in clips.shares(0, 1))
    assert changed["loss"] == results["loss"] and changed["loss_ego"] != changed["loss_ego_without_actions"]


def test_the_noisier_half_is_told_apart(objective, monkeypatch):
    monkeypatch.setattr(objective, "loss", lambda batch, target, noise: noise.time)
    batches = [len(clips) for body in objective.held_bodies for _, clips in body.encoded.shares(0, 1)]
    noisy = [time for count in batches for time in even_times(count).tolist() if time >= 0.5]
    results = objective.validate(0, 1, Mock())
    assert results["loss_ego_noisy"] == pytest.approx(np.mean(noisy)) and results["loss_ego"] == pytest.approx(0.5)


def test_statistics_that_a_run_began_with_are_kept(config, objective):
    """Also where those of the data are other ones by now."""
    began = objective.measured()
    began["position4"]["centre"] = [value + 0.5 for value in began["position4"]["centre"]]
    again = EgoObjective(config, seed=3)
    again.keep_measured(json.loads(json.dumps(began)))
    again.prepare()
    assert again.measured() == began == again.ego.config.statistics
    assert again.trained_on == objective.trained_on


def test_a_run_exports_a_folder_that_goes_on_with_one_more_layout(config, root, tmp_path):
    config.default_action_guidance = 1.5
    recipe = {"steps": 2, "run": str(tmp_path / "run"), "validate_minutes": 0, "objective": dataclasses.asdict(config)}
    path = tmp_path / "recipe.yaml"
    OmegaConf.save(OmegaConf.create(recipe), path)
    model = train(load_config(path)) / "model"
    ego = EgoPipeline.from_pretrained(model).ego
    kept = Statistics.from_json(ego.info.statistics_of("position4"))
    assert kept.form == "absolute" and ego.config.rates == {"position4": 10} and ego.config.guidance == 1.5
    assert any(p.abs().max() > 0 for p in ego.injections[0].parameters())
    trained = TrainingRange.read(model)  # of the Wan that it began from nothing is known, of its hands all
    assert trained == TrainingRange(layouts=trained.layouts) and list(trained.layouts) == ["position4"]
    assert trained.layouts["position4"].places["x"] == pytest.approx((0, T - 1), abs=0.05)
    assert trained.layouts["position4"].speeds == {"hand": pytest.approx(10 * 2**0.5, rel=1e-3)}

    body = dataclasses.replace(config.bodies[0], layout="pose7")
    again = EgoObjective(dataclasses.replace(config, pretrained=str(model), bodies=[body]), seed=0)
    assert again.ego.config.layouts == {"position4": 4, "pose7": 10}
    assert again.ego.info.statistics_of("position4") == ego.info.statistics_of("position4")
    kept = ego.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in again.ego.state_dict().items() if name in kept)
    assert set(again.ego.state_dict()) - set(kept) == {f"fuse.projections.pose7.{part}" for part in ("weight", "bias")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bodies": []}, r"objective\.bodies is empty"),
        ({"pretrained": None, "codec": "x"}, r"objective\.pretrained: the ego front-end needs"),
        ({"frames": [5, 9]}, r"clips of one length"),
        ({"anchor": 0.5, "anchor_reach": 15}, r"anchor_reach=15 must reach back .* 4 frames .*nearest: 16"),
        ({"bodies": [EgoBodyConfig(layout="position4")]}, r"data\.dataset of each is needed"),
        ({"bodies": [EgoBodyConfig(layout="position5", data=DataConfig(dataset="x"))]}, r"position4"),
        ({"adapter": {"injection": "cross", "width": 16, "heads": 2}}, r"cross_attention"),
    ],
)
def test_what_is_refused(config, change, message):
    with pytest.raises(InputError, match=message):
        EgoObjective(dataclasses.replace(config, **change), seed=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"column": "observation.stat"}, r"observation\.state"),
        ({"form": "absolut"}, r"absolute"),
        ({"layout": "pose7"}, r"observation\.state is no trajectory of layout pose7"),
    ],
)
def test_bodies_that_do_not_fit_their_data(config, change, message):
    config.bodies = [dataclasses.replace(config.bodies[0], **change)]
    with pytest.raises(InputError, match=message):
        prepared(config)


def test_a_plan_agrees_with_the_run_that_it_plans(config, tmp_path):
    other = dataclasses.replace(config.bodies[0], clips=3, share=3.0)
    config.bodies = [*config.bodies, other]
    path = tmp_path / "recipe.yaml"
    keys = {"steps": 2, "run": str(tmp_path / "run"), "objective": dataclasses.asdict(config)}
    OmegaConf.save(OmegaConf.create(keys), path)
    planned = load_config(path)
    plan, objective = dry_run(planned, 1), prepared(config)
    assert parameters(plan.outline.parts["ego"]) == parameters(objective.ego)
    for body, real in zip(plan.bodies, objective.bodies, strict=True):
        assert [line.clips for line in body.buckets] == real.encoded.counts and body.videos == 4
    assert [body.outline.share for body in plan.bodies] == [0.25, 0.75]
    (line,) = plan.bodies[0].buckets
    batch = objective.bodies[0].batch(0, [0], FrameChoice(4, 4, 2, 8), objective.statistics["position4"])
    area = batch.present[0, 0].numel() // 4
    assert (line.tokens.target, line.tokens.most_given) == (2 * area, 5 * area)
    assert batch.chunks.latent.shape[2] == 2 and batch.frames.shape[1] == 5
    planned.objective.anchor = 0.5
    assert dry_run(planned, 1).bodies[0].buckets[0].tokens.most_given == 6 * area
    text = "\n".join(report(plan, planned))
    assert "position4 of hands, 75% of the batches of 3, beside the canvas's: 4 episodes" in text
    assert "  16x32x9: 3 clips, 4 tokens" in text and " and 3 x " in text


def test_a_body_that_is_not_there_is_no_stop_of_a_plan(config, tmp_path):
    absent = dataclasses.replace(config.bodies[0].data, dataset=str(tmp_path / "absent"), sizes=["16x32"])
    config.bodies = [dataclasses.replace(config.bodies[0], data=absent)]
    path = tmp_path / "recipe.yaml"
    OmegaConf.save(
        OmegaConf.create({"steps": 2, "run": str(tmp_path / "run"), "objective": dataclasses.asdict(config)}), path
    )
    plan = dry_run(load_config(path), 1)
    assert "absent" in plan.bodies[0].problem and plan.bodies[0].buckets[0].clips is None
    assert "position4 of absent, 100% of the batches of 3, beside the canvas's: cannot be counted" in "\n".join(
        report(plan, load_config(path))
    )


def test_a_body_of_another_layout_is_a_problem_of_a_plan_as_of_the_run(config, tmp_path):
    config.bodies = [dataclasses.replace(config.bodies[0], layout="pose7")]
    path = tmp_path / "recipe.yaml"
    OmegaConf.save(
        OmegaConf.create({"steps": 2, "run": str(tmp_path / "run"), "objective": dataclasses.asdict(config)}), path
    )
    assert "no trajectory of layout pose7" in dry_run(load_config(path), 1).bodies[0].problem


def test_a_lora_and_the_front_end_are_trained_together(config, tmp_path):
    config.lora.rank = 2
    objective = prepared(config)
    trained = {name for name, p in objective.named_parameters() if p.requires_grad}
    assert any(name.startswith("ego.") for name in trained)
    assert all(name.startswith("ego.") or "lora_" in name for name in trained)
    recipe = {"steps": 2, "run": str(tmp_path / "run"), "validate_minutes": 0, "objective": dataclasses.asdict(config)}
    OmegaConf.save(OmegaConf.create(recipe), tmp_path / "recipe.yaml")
    run = train(load_config(tmp_path / "recipe.yaml"))
    export(run, tmp_path / "model", torch.float32)
    ego = EgoPipeline.from_pretrained(tmp_path / "model").ego
    assert any(p.abs().max() > 0 for p in ego.injections[0].parameters())


def save_gaps(folder, gaps):
    """Four episodes whose state is not finite in some rows: a slice per episode, or None."""
    writer = LeRobotWriter(folder, 10, {"observation.state": ["x", "y", "z", "gripper"]}, [CAMERA])
    for episode, gap in enumerate(gaps):
        state = np.random.default_rng(episode).normal(size=(T, 4)).astype(np.float32)
        if gap is not None:
            state[gap, 1] = np.nan
        video = np.random.default_rng(episode).integers(0, 255, (T, 16, 32, 3), dtype=np.uint8)
        writer.add_episode({"observation.state": state}, {CAMERA: video}, f"episode {episode}")
    writer.finish()


def test_a_batch_of_no_clip_is_refused(config):
    for name in ("batch", "ego_batch"):
        with pytest.raises(InputError, match=f"objective.{name}=0 must lie in 1"):
            EgoObjective(dataclasses.replace(config, **{name: 0}), seed=0)


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_states_that_are_not_finite_are_told_left_out_or_refused(config, tmp_path, caplog, share):
    data = DataConfig(dataset=str(tmp_path / "gaps"), cache=str(tmp_path / "cache"), held_out=0.25, max_bad_share=share)
    config.bodies = [EgoBodyConfig(data=data, layout="position4")]
    save_gaps(tmp_path / "gaps", [slice(3, 5), slice(None), None, None])
    objective = prepared(config)
    body = objective.bodies[0]
    assert {body.clips.episode(n).name for n in body.clips.windows()} == {"episode 0", "episode 3"}
    assert "left out: episode 1 (no row of observation.state is finite)" in caplog.text
    assert "2 of 28 rows are not finite, so nothing is learned from them; the first are in episode 0" in caplog.text
    batch = objective.bodies[0].batch(0, [0, 1], FrameChoice(1, 1, 2, None), IDENTITY)
    assert batch.actions.values.isfinite().all() and not batch.actions.valid.all()
    save_gaps(tmp_path / "first", [slice(0, 1), None, None, None])
    data.dataset, config.bodies[0].form = str(tmp_path / "first"), "relative"  # all rows are against the first
    encoded = prepared(config).bodies[0].encoded
    names = [encoded.samples(0, [clip], np.zeros((1, 0), np.int64)).names[0] for clip in range(encoded.counts[0])]
    assert names and not any(name.startswith("episode 0") for name in names)
    assert "are left out: of their rows too few are finite for relative actions" in caplog.text
    config.bodies[0].form = "absolute"
    save_gaps(tmp_path / "all", [slice(None)] * 4)
    data.dataset = str(tmp_path / "all")
    refused = (
        "cannot be used, more than data.max_bad_share=0.3: episode 0 " if share < 1 else ": no row of it is finite"
    )
    with pytest.raises(InputError, match=refused):
        prepared(config)
