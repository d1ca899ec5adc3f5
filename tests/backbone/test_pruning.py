"""Conditions without the tokens of which nothing is given, against diffusers' model with those tokens masked."""

from dataclasses import replace

import pytest
import torch
from diffusers import WanTransformer3DModel
from stock_wan import COMMON, TINY, Masked, sharp_wan
from tiny_wan import GivenRotation

from vgen.backbone.cache import ConditionCache
from vgen.backbone.encoding import encode_clip, encode_frames
from vgen.backbone.rope import rotary_embedding
from vgen.backbone.segments import condition, target
from vgen.backbone.transformer import TIMESTEPS, VideoTransformer
from vgen.errors import InputError

FIELDS = ("latent", "t", "time", "given")
ROWS, COLUMNS = 2, 3  # tokens of a latent frame of 4x6 latent pixels


@pytest.fixture
def stock():
    return sharp_wan()


def ours(stock, kind="joint", prune=True):
    model = VideoTransformer(**stock.config, condition_attention=kind, prune_conditions=prune).eval()
    model.load_state_dict(stock.state_dict(), strict=True)
    return model


@pytest.fixture
def text():
    return torch.randn(2, 7, 24)


@pytest.fixture
def noisy():
    return target(torch.randn(2, 4, 2, 4, 6), torch.tensor([0.75, 0.5]))


@pytest.fixture
def patches():
    """Three images of each of two videos, of which rectangles of latent pixels are given, each of another size."""
    given = torch.zeros(2, 3, 4, 6)
    given[0, 0, :2, :4] = given[0, 1, 1, 5] = given[0, 2] = 1
    given[1, 0, 3, :1] = given[1, 1, :, 2:4] = given[1, 2, :2] = 0.5
    return condition(torch.randn(2, 4, 3, 4, 6), 5 * torch.rand(2, 3, dtype=torch.float64), given=given)


def one(segment, index):
    """A segment of one video alone."""
    parts = {name: getattr(segment, name)[index : index + 1] for name in ("latent", "t", "time")}
    given = None if segment.given is None else segment.given[index : index + 1]
    return replace(segment, given=given, **parts)


def masked_stock(stock, patches, noisy, text, kind):
    """The stock model over all tokens of one video, in which a mask hides those of which nothing is given. They are
    2x2 latent pixels each; under independent attention an image sees itself alone."""
    stock.rope = GivenRotation(rotary_embedding(torch.cat([patches.t, noisy.t], dim=1), ROWS, COLUMNS, 24))
    cells = patches.given[0].unfold(1, 2, 2).unfold(2, 2, 2).sum(dim=(-1, -2)) > 0
    frames = patches.t.shape[1]
    seen = torch.cat([cells.flatten(), torch.ones(noisy.t.shape[1] * ROWS * COLUMNS, dtype=torch.bool)])
    owner = torch.tensor([*range(frames), *[-1] * noisy.t.shape[1]]).repeat_interleave(ROWS * COLUMNS)
    mask = seen[None] if kind == "joint" else seen[None] & ((owner[:, None] == owner[None]) | (owner[:, None] == -1))
    for block in stock.blocks:
        block.attn1.set_processor(Masked(mask.expand(len(owner), -1)))
    steps = (noisy.time * TIMESTEPS)[:, None] * (owner == -1)
    return stock(torch.cat([patches.latent, noisy.latent], dim=2), steps, text).sample[:, :, frames:]


@pytest.mark.parametrize("kind", ["joint", "independent"])
def test_it_is_the_stock_model_that_does_not_see_them(stock, patches, noisy, text, kind):
    model, unpruned = ours(stock, kind), ours(stock, kind, prune=False)
    (got,) = model([patches, noisy], text)
    for index in range(2):
        own = one(patches, index), one(noisy, index), text[index : index + 1]
        torch.testing.assert_close(got[index : index + 1], masked_stock(stock, *own, kind), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(model([own[0], own[1]], own[2])[0], got[index : index + 1], atol=1e-5, rtol=1e-5)
    assert (got - unpruned([patches, noisy], text)[0]).abs().max() > 1e-3, "the comparison must feel the others"


def test_of_one_video_each_costs_what_it_covers(stock, patches, noisy, text, monkeypatch):
    model, lengths = ours(stock), []
    block = type(model.blocks[0]).forward

    def forward(self, tokens, *args):
        lengths.append((tokens.shape[1], args[-1] is None))
        return block(self, tokens, *args)

    monkeypatch.setattr(type(model.blocks[0]), "forward", forward)
    model([one(patches, 0), one(noisy, 0)], text[:1])
    assert set(lengths) == {(2 + 1 + 6 + 12, True)}


def test_what_is_remembered_is_pruned_too(stock, patches, noisy, text):
    model, own = ours(stock, "independent"), (one(patches, 1), one(noisy, 1))
    cache = model.remember([own[0]], text[1:])
    assert cache.lengths == (1, 2, 3)
    torch.testing.assert_close(
        model([own[1]], text[1:], cache=cache)[0], model(list(own), text[1:])[0], atol=1e-5, rtol=1e-5
    )
    both = model.remember([patches], text)
    assert both.lengths == (2, 2, 6) and both.readable is not None
    (expected,) = model([patches, noisy], text)
    torch.testing.assert_close(model([noisy], text, cache=both)[0], expected, atol=1e-5, rtol=1e-5)
    first, others = (replace(patches, **part(patches, span)) for span in (slice(0, 1), slice(1, 3)))
    (got,) = model([others, noisy], text, cache=model.remember([first], text))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    joined = ConditionCache.concatenate([model.remember([each], text) for each in (first, others)])
    torch.testing.assert_close(model([noisy], text, cache=joined)[0], expected, atol=1e-5, rtol=1e-5)


def part(segment, span):
    """Some conditions of a segment."""
    return {"latent": segment.latent[:, :, span], "t": segment.t[:, span], "given": segment.given[:, span]}


def test_a_clip_and_what_is_given_whole(stock, patches, noisy, text):
    model, unpruned = ours(stock, "independent"), ours(stock, "independent", prune=False)
    clip = replace(patches, clip=True)
    assert model.remember([one(clip, 0)], text[:1]).lengths == (2 + 1 + 6,)
    whole = replace(patches, given=torch.ones_like(patches.given))
    for known in (whole, replace(patches, given=None)):
        torch.testing.assert_close(model([known, noisy], text)[0], unpruned([known, noisy], text)[0])
    nothing = replace(patches, given=torch.zeros_like(patches.given))
    assert torch.isfinite(model([nothing, noisy], text)[0]).all()


def test_it_learns_and_the_same_under_checkpointing(stock, patches, noisy, text):
    gradients = []
    for checkpointing in (False, True):
        model = ours(stock, "independent").train()
        if checkpointing:
            model.enable_gradient_checkpointing()
        model([patches, noisy], text)[0].square().mean().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys() and any(grad.abs().max() > 0 for grad in gradients[0].values())
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


@pytest.mark.parametrize("kind", ["joint", "independent"])
def test_an_adapter_is_told_where_the_tokens_stand_that_are_left(stock, patches, noisy, text, kind):
    model, clip, seen = ours(stock, kind), one(replace(patches, clip=True), 0), []
    model([clip, one(noisy, 0)], text[:1], adapter=lambda block, tokens, places: (seen.append(places), tokens)[1])
    places = seen[0]
    assert places.frame.tolist() == [0, 0, 1, *[2] * 6, *[3] * 6, *[4] * 6]
    assert places.target.tolist() == [False] * 9 + [True] * 12
    torch.testing.assert_close(places.spot[:3], torch.tensor([[0.25, 1 / 6], [0.25, 0.5], [0.25, 5 / 6]]))
    twice = replace(one(patches, 0), **{n: getattr(one(patches, 0), n).repeat_interleave(2, dim=0) for n in FIELDS})
    (got,) = model([twice, noisy], text, adapter=lambda block, tokens, places: tokens)
    assert got.shape == noisy.latent.shape, "equal patches of several futures go with a trajectory"


def test_pixels_say_what_is_given(codec):
    masks = torch.zeros(1, 5, 1, 16, 16)
    masks[:, :, :, :8, :4] = 1
    pixels = torch.rand(1, 5, 3, 16, 16)
    places = torch.arange(5.0)[None]
    frames = encode_frames(codec, pixels, masks, places)
    assert frames.given.shape == (1, 5, 2, 2) and frames.given[0, 3].tolist() == [[0.5, 0], [0, 0]]
    clip = encode_clip(codec, pixels, masks, places)
    assert clip.given.shape == (1, 2, 2, 2) and clip.given[0, 1].tolist() == [[0.5, 0], [0, 0]]


def test_a_saved_model_keeps_it_and_stays_wans(stock, tmp_path):
    ours(stock).save_pretrained(tmp_path)
    assert VideoTransformer.from_pretrained(tmp_path).config.prune_conditions is True
    WanTransformer3DModel.from_pretrained(tmp_path)
    stock.save_pretrained(tmp_path / "stock")
    assert VideoTransformer.from_pretrained(tmp_path / "stock").config.prune_conditions is False


def test_what_cannot_be_is_refused_in_one_line(stock, patches, noisy, text):
    model = ours(stock)
    with pytest.raises(InputError, match="sequence_parallel_size=2 needs prune_conditions=false"):
        model.split_sequence(2)
    with pytest.raises(InputError, match="prune_conditions=true: different patches of several videos"):
        model([patches, noisy], text, adapter=lambda block, tokens, places: tokens)
    with pytest.raises(InputError, match="prune_conditions='no' must be true or false"):
        VideoTransformer(**TINY, **COMMON, prune_conditions="no")
    model.set_attention_backend("_native_flash")
    with pytest.raises(InputError, match=r"attention=_native_flash takes no mask, .*; use native"):
        model([patches, noisy], text)
