"""Run by both ranks of test_parallel.py: a model on one rank against the same model over two."""

import deepspeed
import pytest
import torch
import torch.distributed as dist

from vgen.backbone.parallel import TokenSplit
from vgen.backbone.segments import Places, condition, target
from vgen.backbone.transformer import VideoTransformer
from vgen.errors import InputError
from vgen.train.distributed import end_rank

TINY = {"attention_head_dim": 16, "in_channels": 4, "out_channels": 4, "text_dim": 24, "freq_dim": 32, "ffn_dim": 64}


def model(heads: int) -> VideoTransformer:
    torch.manual_seed(0)
    made = VideoTransformer(num_attention_heads=heads, num_layers=2, **TINY)
    for name, parameter in made.named_parameters():
        if "norm_q" in name:  # sharp attention, so that a wrong position or a foreign token shows
            torch.nn.init.constant_(parameter, 4.0)
        elif name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)
    return made


def draw(frames: tuple[int, ...]) -> tuple:
    """Conditions of these lengths, then a target of 3 frames; and the text."""
    generator = torch.Generator().manual_seed(1)
    height = 6 if sum(frames) % 2 == 0 else 4  # 9 or 6 tokens a frame: some sums are odd
    segments = []
    for count in frames:
        t = 5 * torch.rand(2, count, generator=generator, dtype=torch.float64)
        segments.append(condition(torch.randn(2, 4, count, height, 6, generator=generator), t))
    noisy = torch.randn(2, 4, 3, height, 6, generator=generator)
    text = torch.randn(2, 7, 24, generator=generator)
    return [*segments, target(noisy, torch.tensor([0.75, 0.5]))], text


class ByTime(torch.nn.Module):
    """An adapter whose change depends on a token's place, and on whether it is a target's."""

    def __init__(self):
        super().__init__()
        self.weights = torch.nn.Parameter(torch.linspace(0.1, 1, 2 * 64).view(2, 64).sin())

    def forward(self, block: int, tokens: torch.Tensor, places: Places) -> torch.Tensor:
        return tokens + ((places.t + 1) * places.target)[..., None].type_as(tokens) * self.weights[block]


def velocity_and_gradients(net: VideoTransformer, frames: tuple[int, ...]) -> tuple:
    net.zero_grad()
    segments, text = draw(frames)
    adapter = ByTime()
    (velocity,) = net(segments, text, adapter=adapter)
    velocity.square().mean().backward()
    return velocity.detach(), {name: p.grad for name, p in [*net.named_parameters(), *adapter.named_parameters()]}


def compare(whole: VideoTransformer, split: VideoTransformer, frames: tuple[int, ...]) -> None:
    expected, expected_gradients = velocity_and_gradients(whole, frames)
    got, gradients = velocity_and_gradients(split, frames)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
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
    compare(whole, split, given)
split.enable_gradient_checkpointing()
split.set_attention_backend("_native_math")
compare(whole, split, (1, 1, 1))
end_rank()
