"""The adapter of the blocks: what it is told, and that it works with what training does to blocks."""

import pytest
import torch

from vgen.backbone.segments import condition, target
from vgen.backbone.transformer import VideoTransformer

TINY = {"num_attention_heads": 2, "attention_head_dim": 24, "in_channels": 4, "out_channels": 4, "num_layers": 3}
COMMON = {"text_dim": 24, "freq_dim": 32, "ffn_dim": 64}


class ByTime(torch.nn.Module):
    """Adds to each token its time along a direction of the block's own; to targets more than to conditions."""

    def __init__(self):
        super().__init__()
        self.weights = torch.nn.Parameter(torch.linspace(-0.5, 0.5, 3 * 48).view(3, 48).sin())
        self.seen = []

    def forward(self, block, tokens, places):
        self.seen.append((block, places))
        amount = places.t * (1 + 2 * places.target)
        return tokens + amount[..., None].type_as(tokens) * self.weights[block]


@pytest.fixture
def segments():
    given = condition(torch.randn(2, 4, 2, 4, 6), torch.tensor([[0.25, 1.5], [2.0, 7.75]], dtype=torch.float64))
    return [given, target(torch.randn(2, 4, 3, 4, 6), torch.tensor([0.75, 0.5]))]


@pytest.fixture(params=["joint", "independent"])
def model(request):
    made = VideoTransformer(**TINY, **COMMON, condition_attention=request.param).eval()
    for name, parameter in made.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)
    return made


@pytest.fixture
def text():
    return torch.randn(2, 7, 24)


def test_it_is_called_after_every_block_with_the_place_of_every_token(model, segments, text):
    adapter = ByTime()
    (with_it,) = model(segments, text, adapter=adapter)
    assert [block for block, _ in adapter.seen] == [0, 1, 2]
    places = adapter.seen[0][1]
    expected = torch.tensor([[0.25, 1.5, 0, 1, 2], [2.0, 7.75, 0, 1, 2]]).double()
    assert torch.equal(places.t, expected.repeat_interleave(6, dim=1)) and places.t.dtype == torch.float64
    assert torch.equal(places.target, torch.arange(30) >= 12)
    spots = torch.tensor([(y, x) for y in (1 / 4, 3 / 4) for x in (1 / 6, 1 / 2, 5 / 6)])
    torch.testing.assert_close(places.spot, spots.repeat(5, 1))
    assert (with_it - model(segments, text)[0]).abs().max() > 1e-3


def test_its_change_enters_the_next_block(model, segments, text):
    """Against hooks that do the same by hand: the stock way to change what leaves a block."""
    adapter = ByTime()
    (expected,) = model(segments, text, adapter=adapter)
    places = adapter.seen[0][1]
    for index, block in enumerate(model.blocks):
        block.register_forward_hook(lambda _, __, out, index=index: (adapter(index, out[0], places), out[1]))
    torch.testing.assert_close(model(segments, text)[0], expected)


def test_with_a_cache_it_is_as_with_segments(model, segments, text):
    if not model.independent:
        pytest.skip("joint condition attention has no cache")
    adapter = ByTime()
    (expected,) = model(segments, text, adapter=adapter)
    cache = model.remember(segments[:1], text, adapter=adapter)
    (got,) = model(segments[1:], text, adapter=adapter, cache=cache)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    (plain,) = model(segments[1:], text, adapter=adapter, cache=model.remember(segments[:1], text))
    assert (plain - expected).abs().max() > 1e-4, "the adapter must act on what is remembered too"


def test_checkpointing_changes_no_gradient_of_model_or_adapter(model, segments, text):
    adapter = ByTime()

    def gradients():
        model.zero_grad()
        adapter.zero_grad()
        model.train()(segments, text, adapter=adapter)[0].square().mean().backward()
        return model.blocks[0].ffn.net[2].weight.grad.clone(), adapter.weights.grad.clone()

    plain = gradients()
    assert all(gradient.abs().max() > 0 for gradient in plain)
    model.enable_gradient_checkpointing()
    for got, expected in zip(gradients(), plain, strict=True):
        torch.testing.assert_close(got, expected)


def test_it_works_between_compiled_blocks(model, segments, text):
    (expected,) = model(segments, text, adapter=ByTime())
    model.compile_repeated_blocks(backend="eager", fullgraph=True)
    torch.testing.assert_close(model(segments, text, adapter=ByTime())[0], expected, atol=1e-5, rtol=1e-5)
