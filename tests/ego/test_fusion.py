"""Fusion: what an action reads, and what it never sees."""

import numpy as np
import pytest
import torch

import vgen.ego.fusion as fusion_module
from vgen.backbone.segments import condition
from vgen.ego.actions import TimedActions
from vgen.ego.fusion import ActionFusion, ContextSizes, displacement
from vgen.ego.timed_attention import rotation_at

LAYOUTS = {"pose": 7, "boxes": 8}
SIZES = ContextSizes(channels=4, patch=2, text_width=6, stride=4)
WIDTH, HEADS = 24, 2
TIMES = torch.tensor([[1.0, 2.0, 6.0, 8.0, 9.0], [1.0, 3.0, 4.0, 5.0, 20.0]]).double()


@pytest.fixture
def fusion():
    made = ActionFusion(LAYOUTS, WIDTH, HEADS, SIZES).eval()
    for attention in (made.look, made.read):  # as if trained
        torch.nn.init.normal_(attention.to_out.weight, std=0.3)
    return made


@pytest.fixture
def inputs():
    """Context frames at pixel frames 0, 6 and 8, 10 and 2, -4 and 12: in two segments, a row each."""
    latent = torch.randn(2, 4, 4, 4, 6)
    t = torch.tensor([[0, 1.5, 2.5, -1.0], [2.0, 0.5, 0, 3.0]]).double()
    return {
        "actions": torch.randn(2, 5, 7),
        "times": TIMES,
        "valid": torch.ones(2, 5, dtype=torch.bool),
        "layout": "pose",
        "context": [condition(latent[:, :, :1], t[:, :1]), condition(latent[:, :, 1:], t[:, 1:])],
        "text": torch.cat([torch.randn(2, 3, 6), torch.zeros(2, 2, 6)], dim=1),
    }


def fuse(fusion, actions, times, valid, *rest, **more):
    return fusion(TimedActions(actions, times, valid), *rest, **more).values


def test_an_action_reads_what_a_brute_force_mask_lets_it(fusion, inputs):
    """Each action alone, before the frames of context that are not later: no mask is needed then."""
    whole = fuse(fusion, **inputs)
    times = 4 * torch.cat([segment.t for segment in inputs["context"]], dim=1)
    for row in range(2):
        for k, time in enumerate(inputs["times"][row]):
            context = []
            for segment in inputs["context"]:
                keep = [f for f, t in enumerate(segment.t[row]) if 4 * t <= time]
                if keep:
                    context.append(condition(segment.latent[[row]][:, :, keep], segment.t[[row]][:, keep]))
            alone = fuse(
                fusion,
                inputs["actions"][[row]][:, [k]],
                time.view(1, 1),
                torch.ones(1, 1, dtype=torch.bool),
                "pose",
                context,
                inputs["text"][[row], :3],
            )
            torch.testing.assert_close(alone[0, 0], whole[row, k], atol=1e-5, rtol=1e-5)
    assert (times <= TIMES[:, :1]).any() and (times > TIMES[:, -1:]).any(), "some context is seen by all, some by none"


def test_no_action_sees_later_context(fusion, inputs):
    plain = fuse(fusion, **inputs)
    changed = condition(inputs["context"][1].latent.clone(), inputs["context"][1].t)
    changed.latent[:, :, 0] += 1  # at pixel frame 6 in the first row, 2 in the second
    other = fuse(fusion, **{**inputs, "context": [inputs["context"][0], changed]})
    differs = (other != plain).any(-1)
    assert torch.equal(differs, torch.stack([TIMES[0] >= 6, TIMES[1] >= 2]))


def test_an_action_changes_its_own_token_alone(fusion, inputs):
    plain = fuse(fusion, **inputs)
    inputs["actions"] = inputs["actions"].clone()
    inputs["actions"][0, 2] += 1
    differs = (fuse(fusion, **inputs) != plain).any(-1)
    assert differs.nonzero().tolist() == [[0, 2]]


def test_text_is_always_seen_and_its_padding_never(fusion, inputs):
    plain = fuse(fusion, **inputs)
    torch.testing.assert_close(fuse(fusion, **{**inputs, "text": inputs["text"][:, :3]}), plain)
    assert (fuse(fusion, **{**inputs, "text": inputs["text"] * 2}) != plain).any(-1).all()
    silent = fuse(fusion, **{**inputs, "text": torch.zeros(2, 5, 6)})
    assert silent.isfinite().all()


def test_where_a_patch_lies_in_the_image_is_read(fusion, inputs):
    plain = fuse(fusion, **inputs)
    turned = [condition(segment.latent.flip(-1), segment.t) for segment in inputs["context"]]
    assert (fuse(fusion, **{**inputs, "context": turned}) - plain).abs().max() > 1e-4


def test_what_is_not_valid_is_as_if_absent(fusion, inputs):
    plain = fuse(fusion, **inputs)
    valid = inputs["valid"].clone()
    valid[0, 1] = False
    actions = inputs["actions"].clone()
    actions[0, 1] = float("nan")
    fused = fuse(fusion, **{**inputs, "actions": actions, "valid": valid})
    fused.square().sum().backward()
    assert not fused[0, 1].any()
    fused[0, 1] = plain[0, 1]
    torch.testing.assert_close(fused, plain)
    assert all(p.grad.isfinite().all() for p in fusion.parameters() if p.grad is not None)


def test_horizons_of_any_length_and_place(fusion, inputs):
    plain = fuse(fusion, **inputs)
    later = [condition(segment.latent, segment.t + 250) for segment in inputs["context"]]
    moved = fuse(fusion, **{**inputs, "times": TIMES + 1000, "context": later})
    torch.testing.assert_close(moved, plain, atol=1e-5, rtol=1e-4)
    cos, _ = rotation_at(TIMES + 1000, WIDTH // HEADS)
    assert cos.shape == (2, 5, 1, WIDTH // HEADS)


def test_untrained_an_action_is_itself(inputs):
    fusion = ActionFusion(LAYOUTS, WIDTH, HEADS, SIZES)
    assert torch.equal(fuse(fusion, **inputs), fuse(fusion, **{**inputs, "context": [], "text": inputs["text"] * 2}))


def test_without_context_or_fusion(fusion, inputs):
    assert fuse(fusion, **{**inputs, "context": []}).isfinite().all()
    off = ActionFusion(LAYOUTS, WIDTH, HEADS, None)
    assert torch.equal(fuse(off, **inputs), fuse(off, **{**inputs, "context": [], "text": inputs["text"] * 2}))


def test_dropped_actions_are_one_learned_null(fusion, inputs):
    drop = torch.tensor([True, False])
    plain = fuse(fusion, **inputs)
    dropped = fuse(fusion, **inputs, drop=drop)
    assert torch.equal(dropped[1], plain[1]) and (dropped[0] != plain[0]).any(-1).all()
    inputs["actions"] = torch.randn(2, 5, 7)
    assert torch.equal(fuse(fusion, **inputs, drop=drop)[0], dropped[0])
    dropped[0].square().sum().backward()
    assert fusion.null.grad.abs().max() > 0


def test_each_layout_has_a_projection_and_a_new_one_changes_no_other(fusion, inputs):
    plain = fuse(fusion, **inputs)
    before = {name: value.clone() for name, value in fusion.state_dict().items()}
    fusion.add_layout("hand_pose", 57)
    after = fusion.state_dict()
    assert after.keys() - before.keys() == {"projections.hand_pose.weight", "projections.hand_pose.bias"}
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert torch.equal(fuse(fusion, **inputs), plain)
    for layout, columns in {**LAYOUTS, "hand_pose": 57}.items():
        fused = fuse(fusion, **{**inputs, "actions": torch.randn(2, 5, columns), "layout": layout})
        assert fused.shape == (2, 5, WIDTH)


def test_the_place_embedding_tells_rows_from_columns(fusion):
    latent = torch.zeros(1, 4, 1, 4, 6)
    tokens, times = fusion._visual([condition(latent, torch.tensor([[2.5]]).double())])
    assert tokens.shape == (1, 6, WIDTH) and np.unique(tokens[0].detach().numpy().round(4), axis=0).shape[0] == 6
    assert times.tolist() == [[10.0] * 6]


def test_actions_are_told_against_the_latest_valid_one_until_now():
    times = torch.tensor([[0, 1, 2, 3, 4]]).double()
    valid = torch.tensor([[True, True, False, True, True]])
    actions = TimedActions(torch.arange(10.0).view(1, 5, 2), times, valid)
    ahead = displacement(actions, now=2.0)  # row 2 is not valid: row 1 led to the present
    assert ahead[0, :, 0].tolist() == [-2.0, 0.0, 0.0, 4.0, 6.0]
    assert displacement(actions, now=-1.0).abs().max() == 0


def test_what_is_told_against_the_present_changes_with_it(fusion, inputs):
    early, late = (fuse(fusion, **inputs, now=now) for now in (1.0, 8.0))
    assert not torch.allclose(early[0], late[0])


def test_actions_are_rounded_after_their_features(inputs, monkeypatch):
    """Steps of bf16 near 1 are larger than what neighbouring actions may differ by."""
    seen = []
    exact = fusion_module.fourier_features
    monkeypatch.setattr(fusion_module, "fourier_features", lambda *args: seen.append(args[0]) or exact(*args))
    alone = ActionFusion(LAYOUTS, WIDTH, HEADS, None).bfloat16()
    near = torch.full((1, 2, 7), 0.9)
    near[:, 1] += 0.001
    fused = alone(TimedActions(near, TIMES[:1, :2], torch.ones(1, 2, dtype=torch.bool)), "pose", [], inputs["text"])
    assert fused.values.dtype == torch.bfloat16 and not torch.equal(seen[0][0, 0], seen[0][0, 1])
