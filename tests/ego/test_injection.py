"""Every injection against the same injection given only what may be seen; and that none leaks the future."""

import pytest
import torch
from documented import run_example

from vgen.backbone.segments import condition, target
from vgen.backbone.transformer import VideoTransformer
from vgen.ego import injection
from vgen.ego.actions import TimedActions
from vgen.ego.adapter import EgoAdapter
from vgen.ego.injection import INJECTIONS, action_visibility

VIDEO, WIDTH, HEADS = 20, 16, 2
HEAD = WIDTH // HEADS
FRAME_TIMES = torch.tensor([[0.0, 4.0, 6.5, 8.0], [0.5, 2.0, 12.0, 3.0]]).double()
FRAME = torch.arange(4).repeat_interleave(3)
SPOT = torch.rand(3, 2).repeat(4, 1)  # three tokens in every frame
FEELS = [name for name in INJECTIONS if name != "none"]


def trained(name):
    module = INJECTIONS[name](VIDEO, WIDTH, HEADS)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module


@pytest.fixture
def tokens():
    return torch.randn(2, 12, VIDEO)


@pytest.fixture
def actions():
    times = torch.tensor([[1.0, 2.0, 4.0, 7.0, 8.0, 9.0], [1.0, 2.5, 3.0, 3.5, 12.0, 13.0]]).double()
    return TimedActions(torch.randn(2, 6, WIDTH), times, torch.ones(2, 6, dtype=torch.bool))


def update(module, tokens, actions, frame_times=FRAME_TIMES, frame=FRAME, spot=SPOT):
    visibility = action_visibility(frame_times, frame, spot[: len(frame)], actions, HEAD)
    return module(tokens, visibility, module.prepare(actions))


@pytest.mark.parametrize("name", INJECTIONS)
def test_untrained_it_changes_nothing_exactly(name, tokens, actions):
    got = update(INJECTIONS[name](VIDEO, WIDTH, HEADS), tokens, actions)
    assert got.shape == tokens.shape and not got.any()


@pytest.mark.parametrize("name", FEELS)
def test_untrained_it_can_learn(name, tokens, actions):
    module = INJECTIONS[name](VIDEO, WIDTH, HEADS)
    (update(module, tokens, actions) * torch.randn(2, 12, VIDEO)).sum().backward()
    assert max(p.grad.abs().max() for p in module.parameters() if p.grad is not None) > 0


@pytest.mark.parametrize("name", FEELS)
def test_it_is_a_brute_force_over_what_each_frame_may_see(name, tokens, actions):
    module = trained(name)
    whole = update(module, tokens, actions)
    for row in range(2):
        for f, now in enumerate(FRAME_TIMES[row]):
            keep = [k for k, time in enumerate(actions.arrivals[row]) if time <= now]
            few = TimedActions(*(x[[row]][:, keep] for x in (actions.values, actions.arrivals, actions.valid)))
            mine = tokens[[row]][:, f == FRAME]
            alone = update(module, mine, few, now.view(1, 1), torch.zeros(3, dtype=torch.long))
            torch.testing.assert_close(alone[0], whole[row, f == FRAME], atol=1e-5, rtol=1e-5)
            assert bool(alone.any()) == bool(keep), "what sees nothing gets exactly zero"


@pytest.mark.parametrize("name", FEELS)
@pytest.mark.parametrize("changed", range(6))
def test_no_token_feels_a_later_action(name, tokens, actions, changed):
    module = trained(name)
    plain = update(module, tokens, actions)
    other = actions.values.clone()
    other[:, changed] += 1
    differs = (update(module, tokens, TimedActions(other, actions.arrivals, actions.valid)) != plain).any(-1)
    assert torch.equal(differs, (actions.arrivals[:, [changed]] <= FRAME_TIMES)[:, FRAME])


@pytest.mark.parametrize("name", FEELS)
def test_what_is_not_valid_is_as_if_absent(name, tokens, actions):
    module = trained(name)
    valid = torch.ones(2, 6, dtype=torch.bool)
    valid[:, [1, 3]] = False
    masked = update(module, tokens, TimedActions(actions.values, actions.arrivals, valid))
    keep = [0, 2, 4, 5]
    few = TimedActions(actions.values[:, keep], actions.arrivals[:, keep], valid[:, keep])
    torch.testing.assert_close(masked, update(module, tokens, few), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", FEELS)
def test_no_visible_action_gives_zero_and_finite_gradients(name, tokens, actions):
    module = trained(name)
    valid = torch.tensor([[False] * 6, [True] * 6])
    tokens.requires_grad_()
    got = update(module, tokens, TimedActions(actions.values, actions.arrivals, valid))
    got.square().sum().backward()
    assert not got[0].any() and not got[1, :3].any() and got[1, 3:].any(-1).all()
    assert tokens.grad.isfinite().all() and all(p.grad.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize("name", FEELS)
def test_only_differences_of_time_count(name, tokens, actions):
    module = trained(name)
    later = TimedActions(actions.values, actions.arrivals + 1000, actions.valid)
    moved = update(module, tokens, later, FRAME_TIMES + 1000)
    torch.testing.assert_close(moved, update(module, tokens, actions), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", FEELS)
def test_when_an_action_comes_matters(name, tokens, actions):
    module = trained(name)
    sooner = TimedActions(actions.values, actions.arrivals - 0.5, actions.valid)
    differs = update(module, tokens, sooner) - update(module, tokens, actions)
    assert differs[:, FRAME_TIMES[0][FRAME] >= 4].abs().max() > 1e-3


def test_film_and_adaln_are_what_they_say(tokens, actions):
    film, adaln = trained("film"), trained("adaln")
    adaln.load_state_dict(film.state_dict())
    normal = torch.nn.functional.layer_norm(tokens, (VIDEO,))
    torch.testing.assert_close(update(film, normal, actions), update(adaln, tokens, actions))
    shift = update(film, torch.zeros_like(tokens), actions)
    scaled = update(film, tokens, actions) - shift
    torch.testing.assert_close(update(film, 2 * tokens, actions) - shift, 2 * scaled)


@pytest.mark.parametrize("name", FEELS)
def test_what_a_token_feels_depends_on_where_it_lies(name, tokens, actions):
    module = trained(name)
    before, after = update(module, tokens, actions), update(module, tokens, actions, spot=1 - SPOT)
    late = slice(9, 12)  # of a frame that sees several actions
    assert not torch.allclose(before[0, late], after[0, late], atol=1e-3)


@pytest.mark.parametrize("name", FEELS)
def test_of_a_single_action_another_spot_makes_something_else(name, tokens, actions):
    """No weights of attention can: there is nothing to choose from."""
    module = trained(name)
    one = TimedActions(actions.values[:, :1], actions.arrivals[:, :1], actions.valid[:, :1])
    same = torch.zeros(12, 2), torch.full((12, 2), 0.7)
    before, after = (update(module, tokens, one, spot=spot) for spot in same)
    late = slice(9, 12)
    assert not torch.allclose(before[0, late], after[0, late], atol=1e-3)
    torch.nn.init.zeros_(module.gain.out.weight)
    before, after = (update(module, tokens, one, spot=spot) for spot in same)
    torch.testing.assert_close(before, after)


@pytest.fixture
def gate(monkeypatch):
    """The injection of the module's docstring, added as it says."""
    monkeypatch.setattr(injection, "INJECTIONS", INJECTIONS.copy())
    return run_example(injection)["INJECTIONS"]["gate"]


def test_the_documented_injection_keeps_the_three_rules(gate, tokens, actions):
    assert not update(gate(VIDEO, WIDTH, HEADS), tokens, actions).any()
    module = gate(VIDEO, WIDTH, HEADS)
    torch.nn.init.normal_(module.out.weight)
    got = update(module, tokens, actions)
    for row in range(2):
        for place, frame in enumerate(FRAME):
            seen = actions.values[row, actions.arrivals[row] <= FRAME_TIMES[row, frame]]
            wanted = module.out(seen).mean(0) if len(seen) else torch.zeros(VIDEO)
            torch.testing.assert_close(got[row, place], wanted)
    assert not got[0, FRAME == 0].any() and got[0, FRAME == 1].any()  # nothing has arrived at frame 0


def test_the_documented_injection_drives_a_backbone_and_travels_in_a_folder(gate, monkeypatch, tmp_path):
    monkeypatch.setitem(INJECTIONS, "gate", gate)
    sizes = {"num_attention_heads": 2, "attention_head_dim": 24, "in_channels": 4, "out_channels": 4, "num_layers": 2}
    backbone = VideoTransformer(**sizes, text_dim=24, freq_dim=32, ffn_dim=64).eval()
    choices = {"injection": "gate", "width": 16, "heads": 2}
    ego = EgoAdapter.for_backbone(backbone, 4, {"pose": 7}, {"pose": {"kind": "any"}}, **choices)
    for module in ego.injections:
        torch.nn.init.normal_(module.out.weight)
    ego.save_pretrained(tmp_path)
    text, given = torch.randn(1, 3, 24), condition(torch.randn(1, 4, 1, 4, 4), torch.zeros(1, 1).double())
    noisy = target(torch.randn(1, 4, 1, 4, 4), torch.tensor([0.5]))
    arrivals, valid = torch.arange(1.0, 5.0)[None].double(), torch.ones(1, 4, dtype=torch.bool)
    videos = []
    for adapter in (ego, EgoAdapter.from_pretrained(tmp_path)):
        told = TimedActions(torch.ones(1, 4, 7), arrivals - 4, valid)
        bound = adapter.bind(told, "pose", [given], text)
        videos.append(backbone([given, noisy], text, adapter=bound)[0])
    assert torch.equal(*videos) and not torch.equal(videos[0], backbone([given, noisy], text)[0])
