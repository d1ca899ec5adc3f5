"""The ego front-end on a backbone: it changes nothing untrained, acts on targets alone, and travels in a folder."""

import json

import pytest
import torch

from vgen.backbone.segments import Places, condition, target
from vgen.backbone.transformer import VideoTransformer
from vgen.ego.actions import TimedActions
from vgen.ego.adapter import EgoAdapter
from vgen.ego.injection import INJECTIONS
from vgen.errors import InputError
from vgen.models import EGO

TINY = {"num_attention_heads": 2, "attention_head_dim": 24, "in_channels": 4, "out_channels": 4, "num_layers": 2}
COMMON = {"text_dim": 24, "freq_dim": 32, "ffn_dim": 64}
LAYOUTS = {"pose": 7, "boxes": 8}
STATISTICS = {"pose": {"kind": "quantile", "low": [-0.1] * 7, "high": [0.1] * 7}}
FEELS = [name for name in INJECTIONS if name != "none"]


@pytest.fixture(params=["joint", "independent"])
def backbone(request):
    return VideoTransformer(**TINY, **COMMON, condition_attention=request.param).eval()


@pytest.fixture
def independent():
    return VideoTransformer(**TINY, **COMMON, condition_attention="independent").eval()


def front_end(backbone, injection, trained=True, **choices):
    ego = EgoAdapter.for_backbone(
        backbone, 4, LAYOUTS, STATISTICS, injection=injection, width=16, heads=2, **choices
    ).eval()
    if trained:
        for parameter in ego.injections.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return ego


@pytest.fixture
def scene():
    """A past frame, a goal ahead at pixel frame 32, and a target of three latent frames; actions up to frame 8."""
    past = condition(torch.randn(2, 4, 1, 4, 6), torch.zeros(2, 1).double())
    goal = condition(torch.randn(2, 4, 1, 4, 6), torch.full((2, 1), 8.0).double())
    noisy = target(torch.randn(2, 4, 3, 4, 6), torch.tensor([0.75, 0.5]))
    return {"given": [past, goal], "noisy": noisy, "text": torch.randn(2, 7, 24)}


VALUES = torch.randn(2, 8, 7, generator=torch.Generator().manual_seed(3))
ALL = torch.ones(2, 8, dtype=torch.bool)


def timed(values=VALUES, valid=ALL):
    return TimedActions(values, torch.arange(1.0, 9.0).double().expand(2, -1), valid)


def run(backbone, scene, bound=None, **more):
    return backbone([*scene["given"], scene["noisy"]], scene["text"], adapter=bound, **more)[0]


def bind(ego, scene, layout="pose", drop=None, **changes):
    return ego.bind(timed(**changes), layout, scene["given"], scene["text"], drop)


@pytest.mark.parametrize("fusion", [True, False])
@pytest.mark.parametrize("injection", INJECTIONS)
def test_untrained_it_changes_no_output_exactly(backbone, scene, injection, fusion):
    ego = front_end(backbone, injection, trained=False, fusion=fusion)
    assert torch.equal(run(backbone, scene, bind(ego, scene)), run(backbone, scene))


@pytest.mark.parametrize("injection", FEELS)
def test_trained_it_changes_the_output_and_feels_the_actions(backbone, scene, injection):
    ego = front_end(backbone, injection)
    felt = run(backbone, scene, bind(ego, scene))
    assert (felt - run(backbone, scene)).abs().max() > 1e-3
    assert (felt - run(backbone, scene, bind(ego, scene, values=torch.randn(2, 8, 7)))).abs().max() > 1e-4


@pytest.mark.parametrize("injection", FEELS)
def test_conditions_feel_nothing_so_a_cache_holds_for_any_action(independent, scene, injection):
    ego = front_end(independent, injection)
    bound = bind(ego, scene)
    cache = independent.remember(scene["given"], scene["text"])
    (got,) = independent([scene["noisy"]], scene["text"], adapter=bound, cache=cache)
    torch.testing.assert_close(got, run(independent, scene, bound), atol=1e-5, rtol=1e-5)
    moved = independent.remember(scene["given"], scene["text"], adapter=bound)
    assert all(torch.equal(a, b) for a, b in zip(sum(moved.blocks, ()), sum(cache.blocks, ()), strict=True))


@pytest.mark.parametrize("injection", FEELS)
@pytest.mark.parametrize("cached", [False, True])
def test_one_frame_at_a_time_no_frame_feels_a_later_action(independent, scene, injection, cached):
    """A target at pixel frame 5, with a goal ahead of it: actions 6 and later change nothing, action 5 does."""
    ego = front_end(independent, injection)
    frame = target(torch.randn(2, 4, 1, 4, 6), torch.tensor([0.75, 0.5]), torch.full((2, 1), 1.25).double())
    given, text = scene["given"], scene["text"]

    def predict(actions):
        bound = bind(ego, scene, values=actions)
        if cached:
            cache = independent.remember(given, text, adapter=bound)
            return independent([frame], text, adapter=bound, cache=cache)[0]
        return independent([*given, frame], text, adapter=bound)[0]

    actions = VALUES
    plain = predict(actions)
    for changed, feels in ((4, True), (5, False), (7, False)):  # action k has time k + 1
        other = actions.clone()
        other[:, changed] += 1
        assert torch.equal(predict(other), plain) != feels


def test_a_sample_without_valid_actions_is_left_as_it_was(backbone, scene):
    ego = front_end(backbone, "cross_attention")
    valid = torch.tensor([[False] * 8, [True] * 8])
    actions = VALUES.masked_fill(~valid[..., None], float("nan"))
    felt, plain = run(backbone, scene, bind(ego, scene, values=actions, valid=valid)), run(backbone, scene)
    torch.testing.assert_close(felt[0], plain[0])
    assert (felt[1] - plain[1]).abs().max() > 1e-3
    felt.square().mean().backward()
    assert all(p.grad.isfinite().all() for p in [*ego.parameters(), *backbone.parameters()] if p.grad is not None)


def test_dropped_actions_are_neither_actions_nor_nothing(backbone, scene):
    ego = front_end(backbone, "adaln")
    drop = torch.tensor([True, True])
    null = bind(ego, scene, drop=drop)
    dropped = run(backbone, scene, null)
    assert (dropped - run(backbone, scene)).abs().max() > 1e-4
    assert (dropped - run(backbone, scene, bind(ego, scene))).abs().max() > 1e-4


@pytest.mark.parametrize("injection", FEELS)
def test_training_with_checkpointing_and_bf16(backbone, scene, injection):
    ego = front_end(backbone, injection).train()

    def gradients():
        ego.zero_grad()
        run(backbone.train(), scene, bind(ego, scene)).square().mean().backward()
        return {name: p.grad.clone() for name, p in ego.named_parameters() if p.grad is not None}

    plain = gradients()
    unused = {"fuse.null", "fuse.projections.boxes.weight", "fuse.projections.boxes.bias"}
    assert dict(ego.named_parameters()).keys() - plain.keys() == unused
    backbone.enable_gradient_checkpointing()
    for name, gradient in gradients().items():
        torch.testing.assert_close(gradient, plain[name], msg=name)
    with torch.autocast("cpu", torch.bfloat16):
        rough = gradients()
    assert rough.keys() == plain.keys() and all(gradient.isfinite().all() for gradient in rough.values())
    whole = ego.to(torch.bfloat16)
    assert bind(whole, scene).actions.values.dtype == torch.bfloat16
    run(backbone.to(torch.bfloat16), {**scene, "text": scene["text"].bfloat16()}, bind(whole, scene))


@pytest.mark.parametrize("injection", INJECTIONS)
def test_it_travels_in_the_model_folder(backbone, scene, injection, tmp_path):
    ego = front_end(backbone, injection)
    expected = run(backbone, scene, bind(ego, scene))
    ego.save_pretrained(tmp_path / EGO)
    back, report = EgoAdapter.from_pretrained(tmp_path, subfolder=EGO, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert torch.equal(run(backbone, scene, bind(back, scene)), expected)
    assert back.info.statistics_of("pose") == STATISTICS["pose"]
    assert json.loads((tmp_path / EGO / "config.json").read_text())["statistics"] == STATISTICS


def test_a_new_layout_is_one_projection_more(backbone, scene, tmp_path):
    front_end(backbone, "film").save_pretrained(tmp_path / "before")
    ego = EgoAdapter.from_pretrained(tmp_path / "before")
    before, plain = dict(ego.state_dict()), run(backbone, scene, bind(ego, scene))
    ego.add_layout("hand_pose", 57, {"kind": "quantile"})
    ego.save_pretrained(tmp_path / "after")
    back = EgoAdapter.from_pretrained(tmp_path / "after")
    assert {name for name in back.state_dict() if name not in before} == {
        "fuse.projections.hand_pose.weight",
        "fuse.projections.hand_pose.bias",
    }
    assert torch.equal(run(backbone, scene, bind(back, scene)), plain)
    hand = bind(back, scene, values=torch.randn(2, 8, 57), layout="hand_pose")
    assert (run(backbone, scene, hand) - plain).abs().max() > 1e-4
    with pytest.raises(InputError, match="layout 'pose' is in this model already"):
        back.add_layout("pose", 7, {})


def test_what_cannot_be_is_refused_in_one_line(backbone, scene):
    ego = front_end(backbone, "none")
    ego.add_layout("position", 4, {})
    for changes, message in (
        ({"layout": "poses"}, "'poses' is not in the layouts of this model; nearest: 'pose'"),
        ({"layout": "boxes"}, "layout 'boxes' has no statistics in this model; layouts that have: pose"),
        ({"layout": "position"}, "layout 'position' has no statistics in this model; layouts that have: pose"),
        ({"values": torch.randn(2, 8, 6)}, "actions have 6 columns; layout 'pose' has 7"),
    ):
        with pytest.raises(InputError, match=message):
            bind(ego, scene, **changes)
    with pytest.raises(InputError, match="'cross' is not in the injections; nearest: 'cross_attention'"):
        front_end(backbone, "cross")
    with pytest.raises(InputError, match="width=100 does not fit 8 heads; nearest: 96"):
        EgoAdapter.for_backbone(backbone, 4, LAYOUTS, STATISTICS, width=100, heads=8)


@pytest.mark.parametrize("injection", FEELS)
def test_a_rank_without_targets_changes_nothing_and_has_all_gradients(backbone, scene, injection):
    """Where ranks share the tokens of a sample; each must have a gradient for every weight."""
    ego = front_end(backbone, injection)
    bound, width = bind(ego, scene), backbone.config.num_attention_heads * backbone.config.attention_head_dim
    here = torch.zeros(5, dtype=torch.long)
    places = Places(torch.tensor([[0.0], [0.0]]).double(), here, here.bool(), torch.rand(5, 2))
    tokens = torch.randn(2, 5, width, requires_grad=True)
    made = bound(0, tokens, places)
    assert torch.equal(made, tokens)
    made.sum().backward()
    assert all(weight.grad is not None and not weight.grad.any() for weight in ego.injections[0].parameters())
    with torch.no_grad():
        assert bound(0, tokens, places) is tokens
