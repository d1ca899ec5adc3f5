"""Rollouts on tiny models: what a later action may change, what is remembered, and what is refused."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import WanPipeline

from vgen.backbone.encoding import encode_frames
from vgen.backbone.transformer import VideoTransformer
from vgen.ego.actions import TimedActions
from vgen.ego.adapter import EgoAdapter
from vgen.ego.injection import INJECTIONS
from vgen.ego.pipeline import EgoPipeline
from vgen.ego.rollout import Rollout, RolloutSettings
from vgen.errors import InputError
from vgen.models import EGO
from vgen.trajectory.statistics import Statistics

LAYOUT, WIDTH, SIZE = "position4", 4, (32, 64)
KINDS = [(kind, attention) for kind in INJECTIONS for attention in ("joint", "independent")]


def ego_folder(tiny_model, folder, injection="cross_attention", attention="joint"):
    """The tiny model with a front-end whose every weight counts."""
    shutil.copytree(tiny_model, folder)
    transformer = VideoTransformer.from_pretrained(folder, subfolder="transformer", condition_attention=attention)
    torch.manual_seed(1)
    torch.nn.init.normal_(transformer.proj_out.weight, std=0.5)
    transformer.save_pretrained(folder / "transformer")
    statistics = {LAYOUT: Statistics(LAYOUT, "absolute", "mean_std", np.zeros(WIDTH), np.ones(WIDTH)).to_json()}
    choices = {"injection": injection, "width": 16, "heads": 2, "rates": {LAYOUT: 10.0}}
    ego = EgoAdapter.for_backbone(transformer, 4, {LAYOUT: WIDTH}, statistics, **choices)
    for parameter in ego.injections.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    ego.save_pretrained(folder / EGO)
    return folder


@pytest.fixture(scope="module")
def folder(tiny_model, tmp_path_factory):
    return ego_folder(tiny_model, tmp_path_factory.mktemp("ego") / "model")


@pytest.fixture(params=KINDS, ids="-".join)
def any_pipe(request, tiny_model, tmp_path):
    return load(ego_folder(tiny_model, tmp_path / "model", *request.param))


@pytest.fixture
def independent(tiny_model, tmp_path):
    return load(ego_folder(tiny_model, tmp_path / "model", attention="independent"))


@pytest.fixture
def pipe(folder):
    return load(folder)


def load(folder):
    pipe = EgoPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def seen(count=1, batch=1):
    return torch.rand(batch, 3, count, *SIZE, generator=torch.Generator().manual_seed(5)) * 2 - 1


def start(pipe, advance=4, count=1, cls=Rollout, **more):
    settings = RolloutSettings(advance=advance, window=2, steps=2)
    return cls(pipe, seen(count), ["a cat"], LAYOUT, settings, generator=torch.Generator().manual_seed(0), **more)


def actions(count, seed=2, first=1):
    values = torch.randn(1, count, WIDTH, generator=torch.Generator().manual_seed(seed))
    return TimedActions(values, torch.arange(first, first + count)[None].double(), torch.ones(1, count, dtype=bool))


def play(rollout, given):
    """One step per `advance` actions."""
    return torch.cat([rollout.step(part) for part in given.split(rollout.settings.advance)], dim=2)


@pytest.mark.parametrize("advance", [1, 4, 8])
def test_a_step_gives_as_many_frames_as_actions(pipe, advance):
    rollout = start(pipe, advance)
    video = play(rollout, actions(2 * advance))
    assert video.shape == (1, 3, 2 * advance, *SIZE) and rollout.now == 2 * advance
    assert video.min() >= -1 and video.max() <= 1


@pytest.mark.parametrize("advance", [1, 4])
def test_an_action_changes_its_own_step_and_none_before_it(any_pipe, advance):
    given = actions(3 * advance)
    changed = replace(given, values=given.values.clone())
    changed.values[:, advance] += 3  # the first action of the second step
    one, other = play(start(any_pipe, advance), given), play(start(any_pipe, advance), changed)
    assert torch.equal(one[:, :, :advance], other[:, :, :advance])
    if any_pipe.ego.config.injection != "none":
        assert not torch.equal(one[:, :, advance : 2 * advance], other[:, :, advance : 2 * advance])
    else:
        assert torch.equal(one, other)


@pytest.mark.parametrize("anchor", [False, True])
@pytest.mark.parametrize("advance", [1, 4])
def test_what_is_remembered_changes_nothing(independent, advance, anchor, monkeypatch):
    """History, the first frame and a goal, against their computation at every step of denoising."""
    independent.ego.register_to_config(anchor=anchor)
    image, mask = -seen()[:, :, :1].transpose(1, 2), torch.ones(1, 1, 1, *SIZE)
    goal = encode_frames(independent.codec, image, mask, torch.tensor([[3 * advance]]))
    tokens, embed = [], VideoTransformer._embed
    monkeypatch.setattr(
        VideoTransformer, "_embed", lambda self, segment: tokens.append(segment.role) or embed(self, segment)
    )

    def video(remember):
        tokens.clear()
        independent.remembers_conditions = remember
        return play(start(independent, advance, goals=[goal]), actions(4 * advance))

    anew = video(False)
    assert tokens.count("condition") > 4 * 2
    torch.testing.assert_close(video(True), anew, atol=1e-4, rtol=1e-4)
    assert tokens.count("condition") == 1 + 4 * (1 if advance == 1 else advance // 4) + 1  # each once: frames and goal


def test_the_window_holds_the_latest_frames_and_no_more(independent):
    rollout = start(independent, 4, count=9)
    for first in (1, 5, 9):
        rollout.step(actions(4, first=first))
        caches = [kept.cache.t.tolist() for kept in rollout._history]
        assert caches == [[[rollout.now / 4 - 1]], [[rollout.now / 4]]]
        assert rollout._actions.arrivals.min() > rollout.now - 4 - 8


def test_history_starts_with_frames_one_advance_apart(pipe):
    rollout = start(pipe, 4, count=9)
    latents = [pipe.codec.encode_image(seen(9)[:, :, frame]) for frame in (4, 8)]
    for kept, latent, t in zip(rollout._history, latents, (-1.0, 0.0), strict=True):
        assert torch.equal(kept.segment.latent, latent) and kept.segment.t.tolist() == [[t]] and kept.cache is None


@pytest.mark.parametrize("advance", [1, 4, 8])
def test_an_anchored_rollout_keeps_its_first_frame_once_the_window_has_let_it_go(pipe, advance):
    pipe.ego.register_to_config(anchor=True)
    anchored, forgetful = start(pipe, advance), start(pipe, advance)
    forgetful._anchored = False
    first = pipe.codec.encode_image(seen()[:, :, 0])
    given, same = actions(3 * advance), []
    for part in given.split(advance):
        held = any(kept is anchored._first for kept in anchored._history)
        assert held == (not anchored._given())
        same.append(torch.equal(anchored.step(part), forgetful.step(part)))
    (kept,) = anchored._given()
    assert torch.equal(kept.segment.latent, first) and kept.segment.t.tolist() == [[0.0]]
    assert same[0] and not same[-1]


def test_a_rollout_is_anchored_as_the_model_was_trained_unless_it_is_told(pipe):
    def anchored(own, asked):
        pipe.ego.register_to_config(anchor=own)
        return Rollout(pipe, seen(), ["a cat"], LAYOUT, RolloutSettings(anchor=asked))._anchored

    assert [anchored(*case) for case in ((False, None), (True, None), (True, False), (False, True))] == [0, 1, 0, 1]


def test_a_goal_counts_until_it_is_reached(pipe):
    image, mask = seen()[:, :, :1].transpose(1, 2), torch.ones(1, 1, 1, *SIZE)
    goal = encode_frames(pipe.codec, -image, mask, torch.tensor([[8]]))
    given = actions(12)
    without, rollout = start(pipe), start(pipe, goals=[goal])
    first = [each.step(given.until(4)) for each in (without, rollout)]
    assert not torch.equal(*first) and rollout.goals
    rollout.step(given.after(4).until(8))
    rollout.step(given.after(8))
    assert not rollout.goals


def test_actions_read_goals_as_in_training(pipe, monkeypatch):
    goal = encode_frames(pipe.codec, seen()[:, :, :1].transpose(1, 2), torch.ones(1, 1, 1, *SIZE), torch.tensor([[8]]))
    rollout, read = start(pipe, goals=[goal]), []
    bind = pipe.ego.bind
    monkeypatch.setattr(pipe.ego, "bind", lambda *args, **more: read.append(args[2]) or bind(*args, **more))
    rollout.step(actions(4))
    assert read and all(context[-1] is goal for context in read)


def test_guidance_over_actions_is_none_at_one_and_counts_beyond(pipe):
    given, videos = actions(4), []
    for guidance in (1.0, 1.0 + 1e-6, 3.0):
        settings = RolloutSettings(window=2, steps=2, guidance=guidance)
        rollout = Rollout(pipe, seen(), ["a cat"], LAYOUT, settings, generator=torch.Generator().manual_seed(0))
        videos.append(rollout.step(given))
    torch.testing.assert_close(videos[0], videos[1], atol=1e-4, rtol=1e-4)
    assert (videos[0] - videos[2]).abs().max() > 1e-3


def test_guidance_is_the_models_own_where_a_rollout_does_not_say(pipe):
    videos = []
    for own, asked in ((3.0, None), (1.0, 3.0), (1.0, None)):
        pipe.ego.register_to_config(guidance=own)
        settings = RolloutSettings(window=2, steps=2, guidance=asked)
        rollout = Rollout(pipe, seen(), ["a cat"], LAYOUT, settings, generator=torch.Generator().manual_seed(0))
        videos.append(rollout.step(actions(4)))
    assert torch.equal(videos[0], videos[1]) and not torch.equal(videos[0], videos[2])


def test_a_blind_rollout_feels_no_actions(pipe):
    def blind(given, guidance=1.0):
        settings = RolloutSettings(window=2, steps=2, guidance=guidance, blind=True)
        return Rollout(pipe, seen(), ["a cat"], LAYOUT, settings, generator=torch.Generator().manual_seed(0)).step(
            given
        )

    assert torch.equal(blind(actions(4)), blind(actions(4, seed=3)))
    assert torch.equal(blind(actions(4)), blind(actions(4), guidance=3.0))
    nothing = start(pipe).step(replace(actions(4), valid=torch.zeros(1, 4, dtype=bool)))  # the backbone as it is
    assert not torch.equal(blind(actions(4)), nothing) and not torch.equal(
        blind(actions(4)), start(pipe).step(actions(4))
    )


def test_with_generators_of_their_own_futures_do_not_depend_on_their_batch(pipe):
    settings, given = RolloutSettings(window=2, steps=2), actions(4)
    apart = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    twice = TimedActions(*(torch.cat([each, each]) for each in vars(given).values()))
    both = Rollout(pipe, seen(batch=2), ["a cat"] * 2, LAYOUT, settings, generator=apart).step(twice)
    for place, seed in enumerate((3, 4)):
        frames, own = seen(batch=2)[place : place + 1], [torch.Generator().manual_seed(seed)]
        alone = Rollout(pipe, frames, ["a cat"], LAYOUT, settings, generator=own).step(given)
        torch.testing.assert_close(both[place : place + 1], alone, atol=1e-4, rtol=1e-4)


def test_the_folder_stays_a_wan_folder_and_loads_again(pipe, tmp_path):
    pipe.save_pretrained(tmp_path / "saved")
    assert "ego" not in json.loads((tmp_path / "saved/model_index.json").read_text())
    WanPipeline.from_pretrained(tmp_path / "saved")
    again = load(tmp_path / "saved")
    given = actions(4)
    assert torch.equal(start(again).step(given), start(pipe).step(given))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"advance": 3}, r"advance=3 is neither 1 nor a multiple of 4; nearest: 4"),
        ({"advance": 0}, r"advance=0 .* nearest: 4"),
        ({"window": 0}, r"window=0 must keep 1 frame or more"),
    ],
)
def test_settings_that_cannot_be(pipe, settings, message):
    with pytest.raises(InputError, match=message):
        Rollout(pipe, seen(), [""], LAYOUT, RolloutSettings(**settings))


def test_a_model_without_a_front_end_says_so(tiny_model):
    with pytest.raises(InputError, match=r"has no ego front-end"):
        EgoPipeline.from_pretrained(tiny_model)
