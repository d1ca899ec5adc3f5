"""Run by both ranks of test_parallel.py: a model on one rank against the same model over two, which share the tokens of
every sample, or the samples of a batch."""

from collections.abc import Sequence
from dataclasses import replace

import deepspeed
import pytest
import torch
import torch.distributed as dist

from vgen.backbone.parallel import TokenSplit
from vgen.backbone.segments import Places, Segment, condition, target
from vgen.backbone.transformer import BlockAdapter, VideoTransformer
from vgen.ego.actions import TimedActions
from vgen.ego.adapter import EgoAdapter
from vgen.ego.injection import INJECTIONS
from vgen.errors import InputError
from vgen.train.distributed import end_rank

TINY = {"attention_head_dim": 16, "in_channels": 4, "out_channels": 4, "text_dim": 24, "freq_dim": 32, "ffn_dim": 64}
STATISTICS = {"pose": {"kind": "quantile", "low": [-0.1] * 7, "high": [0.1] * 7}}
BOTH = slice(2)  # samples of a batch


def model(heads: int) -> VideoTransformer:
    torch.manual_seed(0)
    made = VideoTransformer(num_attention_heads=heads, num_layers=2, **TINY)
    for name, parameter in made.named_parameters():
        if "norm_q" in name:  # sharp attention, so that a wrong position or a foreign token shows
            torch.nn.init.constant_(parameter, 4.0)
        elif name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)
    return made


def draw(frames: tuple[int, ...], rows: slice = BOTH) -> tuple:
    """Conditions of these lengths, then a target of 3 frames; and the text. Of these samples of the batch."""
    generator = torch.Generator().manual_seed(1)
    height = 6 if sum(frames) % 2 == 0 else 4  # 9 or 6 tokens a frame: some sums are odd
    segments = []
    for count in frames:
        t = 5 * torch.rand(2, count, generator=generator, dtype=torch.float64)
        segments.append(condition(torch.randn(2, 4, count, height, 6, generator=generator), t))
    noisy = torch.randn(2, 4, 3, height, 6, generator=generator)
    text = torch.randn(2, 7, 24, generator=generator)
    segments.append(target(noisy, torch.tensor([0.75, 0.5])))
    parts = [replace(each, latent=each.latent[rows], t=each.t[rows], time=each.time[rows]) for each in segments]
    return parts, text[rows]


class ByTime(torch.nn.Module):
    """An adapter whose change depends on a token's place, and on whether it is a target's."""

    def __init__(self):
        super().__init__()
        self.weights = torch.nn.Parameter(torch.linspace(0.1, 1, 2 * 64).view(2, 64).sin())

    def forward(self, block: int, tokens: torch.Tensor, places: Places) -> torch.Tensor:
        return tokens + ((places.t + 1) * places.target)[..., None].type_as(tokens) * self.weights[block]

    def bind(self, segments: Sequence[Segment], text: torch.Tensor, rows: slice) -> BlockAdapter:
        return self


class ByActions(torch.nn.Module):
    """An ego front-end as if trained, and the actions of both samples, of which the first has none that are valid."""

    def __init__(self, injection: str):
        super().__init__()
        torch.manual_seed(2)
        self.ego = EgoAdapter.for_backbone(
            model(4), 4, {"pose": 7}, STATISTICS, injection=injection, width=16, heads=2
        ).train()
        for parameter in self.ego.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        self.values, self.valid = torch.randn(2, 8, 7), torch.tensor([[False] * 8, [True] * 8])

    def bind(self, segments: Sequence[Segment], text: torch.Tensor, rows: slice) -> BlockAdapter:
        valid = self.valid[rows]
        actions = TimedActions(self.values[rows], torch.arange(1.0, 9.0).double().expand(len(valid), -1), valid)
        return self.ego.bind(actions, "pose", segments[:-1], text, drop=~valid.any(1))


def velocity_and_gradients(net: VideoTransformer, adapter: ByTime | ByActions, frames: tuple, rows: slice) -> tuple:
    """Of these samples of the batch. Every weight has a gradient, if only zero: ranks wait for each other's."""
    net.zero_grad()
    adapter.zero_grad()
    segments, text = draw(frames, rows)
    (velocity,) = net(segments, text, adapter=adapter.bind(segments, text, rows))
    velocity.square().mean().backward()
    gradients = {name: p.grad for name, p in [*net.named_parameters(), *adapter.named_parameters()]}
    missing = [name for name, gradient in gradients.items() if gradient is None]
    assert not missing, missing
    return velocity.detach(), gradients


def compare(
    whole: VideoTransformer,
    split: VideoTransformer,
    frames: tuple,
    adapter: ByTime | ByActions,
    mine: slice = BOTH,
) -> None:
    """One rank with both samples, against `split` with `mine` of them on each of two ranks."""
    expected, expected_gradients = velocity_and_gradients(whole, adapter, frames, BOTH)
    got, gradients = velocity_and_gradients(split, adapter, frames, mine)
    torch.testing.assert_close(got, expected[mine], atol=1e-5, rtol=1e-5)
    for name, gradient in gradients.items():
        dist.all_reduce(gradient)
        gradient /= dist.get_world_size()
        torch.testing.assert_close(gradient, expected_gradients[name], atol=1e-5, rtol=1e-4, msg=name)


deepspeed.init_distributed("gloo", verbose=False)
with pytest.raises(InputError, match=r"sequence_parallel_size=2 must divide the 3 attention heads .* nearest: 1"):
    model(3).split_sequence(2)
whole, split = model(4), model(4)
split.split_sequence(2)
both = dist.group.WORLD
assert TokenSplit([5, 1, 3], both).lengths == ([5, 0, 0], [0, 1, 4])[dist.get_rank()]  # one empty token at the end
for given in ((), (1, 1), (1, 1, 2), (2, 5)):
    compare(whole, split, given, ByTime())
for injection in [name for name in INJECTIONS if name != "none"]:
    compare(whole, split, (2, 5), ByActions(injection))  # rank 0 holds no target's token
    compare(whole, whole, (1, 1), ByActions(injection), mine=slice(dist.get_rank(), dist.get_rank() + 1))
split.enable_gradient_checkpointing()
split.set_attention_backend("_native_math")
compare(whole, split, (1, 1, 1), ByTime())
end_rank()
