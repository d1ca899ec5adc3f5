"""How far apart two pictures look: ST-LPIPS, the shift-tolerant perceptual distance, as a loss and as a metric.

Ghildyal and Liu, "Shift-tolerant Perceptual Similarity Metric", ECCV 2022 (arXiv 2207.13686): features of an AlexNet
with blurred downsampling, normalised to unit length at each place, and a learned weight for each channel's squared
difference. It is not LPIPS, and its values are not to be compared with LPIPS values. The weights lie in the package
`stlpips-pytorch` (BSD-2-Clause), none of whose code is imported: that wants torchvision and more.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vgen.errors import InputError
from vgen.metrics.packaged import packaged_file

PACKAGE = "stlpips_pytorch"
WEIGHTS = "weights/vST0.0/alex_shift_tolerant.pth"
INSTALL = "pip install 'vgen[metrics]'"
SMALLEST = 21
"""Pixels of a side, below which the third layer has no place left."""
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Of the colour channels in [-1, 1], from the statistics of ImageNet."""
CONVOLUTIONS = ((3, 64, 11, 2), (64, 192, 5, 2), (192, 384, 3, 1), (384, 256, 3, 1), (256, 256, 3, 1))
"""Channels in and out, size and padding of each layer of the AlexNet."""
EPSILON = 1e-8  # of a length: a place without features has no direction, and a finite gradient


class PerceptualDistance(nn.Module):
    """ST-LPIPS between images, differentiable, its weights frozen.

    Made directly, it has random weights; `load` gives the learned ones. Convolutions follow autocast, and lengths and
    differences are always computed in float32, so that it is safe under bfloat16 autocast.

    Args:
        layers: How many of the five layers are compared. The first two cost two thirds of all and see edges and
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
        file = packaged_file(PACKAGE, WEIGHTS, INSTALL)
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
        x = x.contiguous(memory_format=torch.channels_last)  # in which max_pool2d is several times as fast on a CPU
        found = []
        for number, convolution in enumerate(self.convolutions):
            assert isinstance(convolution, nn.Conv2d)
            if number in (1, 2):
                x = _halve(F.max_pool2d(x, kernel_size=3, stride=1))
            x = (_halved_convolution(convolution, x) if number == 0 else convolution(x)).relu()
            found.append(_unit_length(x.float()))
        return found

    def between(self, prediction: list[Tensor], truth: list[Tensor]) -> Tensor:
        """The distances `[B]` between what `features` gave of two batches of images."""
        distance = prediction[0].new_zeros(len(prediction[0]))
        for one, other, head in zip(prediction, truth, self.heads, strict=True):
            distance = distance + torch.einsum("bchw,c->b", (one - other).square(), head) / one[0, 0].numel()
        return distance


class StLpips:
    """A `SampleMetric`: the mean ST-LPIPS of a video's frames, every `frame_step`-th from the first on.

    Raises:
        InputError: the package `stlpips-pytorch` is not installed.
    """

    def __init__(self, frame_step: int = 1) -> None:
        self.distance, self.frame_step = PerceptualDistance.load(), frame_step

    def __call__(self, prediction: Tensor, truth: Tensor, /) -> Tensor:
        """Videos `[B, 3, T, H, W]` twice -> `[B]`, at least 0."""
        pairs = zip(prediction[:, :, :: self.frame_step], truth[:, :, :: self.frame_step], strict=True)
        with torch.no_grad():  # one video at a time: a value does not depend on the batch it came in
            return torch.stack([self.distance(p.transpose(0, 1), t.transpose(0, 1)).mean() for p, t in pairs])


def _halve(features: Tensor) -> Tensor:
    """Blurs by [1, 2, 1] / 4 both ways, over reflected edges, and keeps every second row and column."""
    channels = features.shape[1]
    kernel = _blur(features).expand(channels, 1, 3, 3)
    return F.conv2d(F.pad(features, (2, 2, 2, 2), mode="reflect"), kernel, stride=2, groups=channels)


def _blur(like: Tensor) -> Tensor:
    line = like.new_tensor([0.25, 0.5, 0.25])
    return line[:, None] * line


def _halved_convolution(convolution: nn.Conv2d, images: Tensor) -> Tensor:
    """`_halve` of the first layer's convolution of images `[B, 3, H, W]`, four to eight times as fast.

    A convolution and a blur are one convolution with the blurred kernel, of which every second place is enough. At the
    edges, over which the blur reflects, that is not so: the first row and column are then equal to the second, and the
    last are made in two steps, from as many rows or columns as they look at.
    """
    kernel, bias = convolution.weight, convolution.bias
    blurred = F.conv2d(kernel.flatten(0, 1)[:, None], _blur(kernel)[None, None], padding=2)
    blurred = blurred.reshape(*kernel.shape[:2], *blurred.shape[-2:])
    inner = F.conv2d(images, blurred, bias, stride=2, padding=4)[..., 1:-1, 1:-1]
    rows, columns = (12 + side % 2 for side in images.shape[-2:])
    last_row = _halve(F.conv2d(F.pad(images[..., -rows:, :], (2, 2, 0, 2)), kernel, bias))[..., -1:, 1:-1]
    last_column = _halve(F.conv2d(F.pad(images[..., -columns:], (0, 2, 2, 2)), kernel, bias))[..., -1:]
    tall = torch.cat([inner[..., :1, :], inner, last_row], dim=-2)
    return torch.cat([tall[..., :1], tall, last_column], dim=-1)


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
