"""Independent condition attention against diffusers' model with a boolean mask; and remembered conditions."""

import pytest
import torch
from diffusers import WanTransformer3DModel
from stock_wan import COMMON, TINY, Masked, sharp_wan
from tiny_wan import GivenRotation

from vgen.backbone.cache import ConditionCache
from vgen.backbone.rope import rotary_embedding
from vgen.backbone.segments import condition, target
from vgen.backbone.transformer import TIMESTEPS, VideoTransformer
from vgen.errors import InputError

FRAME = 2 * 3  # tokens of a latent frame


@pytest.fixture
def stock():
    return sharp_wan()


def ours(stock, kind="independent"):
    model = VideoTransformer(**stock.config, condition_attention=kind).eval()
    model.load_state_dict(stock.state_dict(), strict=True)
    return model


@pytest.fixture
def model(stock):
    return ours(stock)


@pytest.fixture
def text():
    return torch.randn(2, 7, 24)


@pytest.fixture
def noisy():
    return target(torch.randn(2, 4, 3, 4, 6), torch.tensor([0.75, 0.5]))


@pytest.fixture
def conditions():
    """Two images in one segment, a clip of three frames, and an image: positions out of order and between integers."""
    t = 5 * torch.rand(2, 6, dtype=torch.float64)
    latent = torch.randn(2, 4, 6, 4, 6)
    spans = [(0, 2, False), (2, 5, True), (5, 6, False)]
    return [condition(latent[:, :, a:b], t[:, a:b], clip=clip) for a, b, clip in spans]


def brute_force(stock, conditions, groups, noisy, text):
    """The stock model over the whole sequence; `groups` names the condition of each latent frame, and a mask keeps
    those of one condition from seeing any other token. Timesteps are per token."""
    given = torch.cat([c.latent for c in conditions], dim=2)
    positions = torch.cat([c.t for c in conditions] + [noisy.t], dim=1)
    stock.rope = GivenRotation(rotary_embedding(positions, 2, 3, 24))
    owner = torch.tensor([*groups, -1, -1, -1]).repeat_interleave(FRAME)
    mask = (owner[:, None] == owner[None]) | (owner[:, None] == -1)
    for block in stock.blocks:
        block.attn1.set_processor(Masked(mask))
    steps = (noisy.time * TIMESTEPS)[:, None] * (owner == -1)
    return stock(torch.cat([given, noisy.latent], dim=2), steps, text).sample[:, :, given.shape[2] :]


def test_it_is_the_stock_model_under_a_mask(stock, model, conditions, noisy, text):
    (got,) = model([*conditions, noisy], text)
    expected = brute_force(stock, conditions, [0, 1, 2, 2, 2, 3], noisy, text)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    together = brute_force(stock, conditions, [0, 0, 2, 2, 2, 3], noisy, text)
    assert (got - together).abs().max() > 1e-3, "the comparison must feel two frames that see each other"


def test_order_and_the_cut_into_segments_change_nothing(model, conditions, noisy, text):
    images, clip, last = conditions
    (expected,) = model([*conditions, noisy], text)
    apart = [condition(images.latent[:, :, [k]], images.t[:, [k]]) for k in range(2)]
    (got,) = model([last, noisy, clip, *apart], text)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_without_conditions_both_kinds_are_one(stock, model, noisy, text):
    torch.testing.assert_close(model([noisy], text)[0], ours(stock, "joint")([noisy], text)[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("remembered", [1, 2, 3])
def test_a_cache_is_the_same_conditions(model, conditions, noisy, text, remembered):
    (expected,) = model([*conditions, noisy], text)
    cache = model.remember(conditions[:remembered], text)
    (got,) = model([*conditions[remembered:], noisy], text, cache=cache)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_any_of_those_remembered_go_together(model, conditions, noisy, text):
    """A window that moves is others of them; a goal is one more."""
    images, clip, last = conditions
    caches = [model.remember([each], text) for each in conditions]
    whole = ConditionCache.concatenate(caches)
    assert len(whole) == 4 and whole.lengths == (FRAME, FRAME, 3 * FRAME, FRAME)
    assert torch.equal(whole.t, torch.cat([images.t, clip.t[:, 2:], last.t], dim=1))
    for some in ([0, 1, 2], [1, 2], [2], [2, 0]):
        (expected,) = model([*(conditions[k] for k in some), noisy], text)
        (got,) = model([noisy], text, cache=ConditionCache.concatenate([caches[k] for k in some]))
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_what_a_step_computes_does_not_grow_with_the_horizon(model, noisy, text):
    """Per step of a long rollout: tokens through the blocks, and keys that the targets meet."""
    tokens = []
    model.blocks[0].register_forward_pre_hook(lambda _, args: tokens.append(args[0].shape[1]))
    kept = [model.remember([condition(torch.randn(2, 4, 1, 4, 6), torch.zeros(2, 1, dtype=torch.float64))], text)]
    keys = []
    for step in range(1, 9):
        position, cache = torch.full((2, 1), float(step), dtype=torch.float64), ConditionCache.concatenate(kept)
        model([target(torch.randn(2, 4, 1, 4, 6), noisy.time, position)], text, cache=cache)
        keys.append(cache.blocks[0][0].shape[1])
        kept = [*kept, model.remember([condition(torch.randn(2, 4, 1, 4, 6), position)], text)][-3:]
    assert tokens == [FRAME] * 17
    assert keys == [FRAME, 2 * FRAME, *[3 * FRAME] * 6]


def test_what_is_remembered_is_at_diffusion_time_zero(model, conditions, text):
    times = []
    model.condition_embedder.timesteps_proj.register_forward_pre_hook(lambda _, args: times.append(args[0]))
    model.remember(conditions, text)
    assert len(times) == 3 and not torch.cat(times).any()


def test_training_with_checkpointing_has_the_gradients_of_plain_training(model, conditions, noisy, text):
    def gradient(**cache):
        model.zero_grad()
        model.train()([*conditions, noisy], text, **cache)[0].square().mean().backward()
        return model.blocks[0].attn1.to_k.weight.grad.clone()

    plain = gradient()
    assert plain.abs().max() > 0
    model.enable_gradient_checkpointing()
    torch.testing.assert_close(gradient(), plain)


def test_compiled_blocks_compute_the_same(model, conditions, noisy, text):
    cache = model.remember(conditions[:1], text)
    (expected,) = model([*conditions[1:], noisy], text, cache=cache)
    model.compile_repeated_blocks(backend="eager", fullgraph=True)  # traced whole; "eager" needs no C++ compiler
    (got,) = model([*conditions[1:], noisy], text, cache=cache)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_the_attention_backend_is_a_choice(model, conditions, noisy, text):
    (plain,) = model([*conditions, noisy], text)
    model.set_attention_backend("_native_math")
    assert model.blocks[0].attn1.processor._attention_backend is not None
    torch.testing.assert_close(model([*conditions, noisy], text)[0], plain, atol=1e-5, rtol=1e-5)


def test_the_kind_is_kept_in_the_folder_and_old_folders_are_joint(stock, model, conditions, noisy, text, tmp_path):
    model.save_pretrained(tmp_path / "ours")
    back = VideoTransformer.from_pretrained(tmp_path / "ours")
    assert back.independent
    assert torch.equal(back([*conditions, noisy], text)[0], model([*conditions, noisy], text)[0])

    wan, report = WanTransformer3DModel.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert wan.state_dict().keys() == stock.state_dict().keys()

    stock.save_pretrained(tmp_path / "old")
    assert not VideoTransformer.from_pretrained(tmp_path / "old").independent
    assert VideoTransformer.from_pretrained(tmp_path / "old", condition_attention="independent").independent


def test_what_cannot_be_is_refused_in_one_line(stock, model, conditions, noisy, text):
    cache, joint = model.remember(conditions, text), ours(stock, "joint")
    for call in (lambda: joint([noisy], text, cache=cache), lambda: joint.remember(conditions, text)):
        with pytest.raises(InputError, match=r"condition_attention=joint remembers no conditions; use .* independent"):
            call()
    with pytest.raises(
        InputError, match="'independant' is not in the kinds of condition_attention; nearest: 'independ"
    ):
        VideoTransformer(**TINY, **COMMON, condition_attention="independant")
    with pytest.raises(InputError, match="sequence_parallel_size=2 needs condition_attention=joint"):
        model.split_sequence(2)
