"""What changes over a long video, frame by frame, whatever its length: colour, sharpness, identity, and steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from bench_measures.looks import mean_colours, sharpness
from bench_measures.quality import is_dino, subject_encoder
from torch import Tensor
from torch.nn import functional

from vgen.errors import InputError
from vgen.media.pixels import to_unit
from vgen.metrics import PerceptualDistance

Network = Callable[[np.ndarray], Tensor]
"""Frames uint8 `[T, H, W, 3]` -> features of length 1, `[T, D]`."""
HORIZONS = (16, 64, 256, 1024)
WINDOW = 16
"""Frames up to a horizon over which its values are averaged."""


class Watch:
    """Looks at frames as they come, and keeps numbers alone.

    Args:
        given: What frames are compared with, uint8 `[t, H, W, 3]`: the given frames as they were recorded, not as a
            model has made them, since a blurred beginning would make what follows look sharp.
        networks: That tell whether a frame shows what the given ones show, by name.
    """

    def __init__(self, given: np.ndarray, networks: Mapping[str, Network]) -> None:
        self.networks = networks
        self.colour, self.sharp = mean_colours(given).mean(0), float(sharpness(given).mean())
        self.given = {name: functional.normalize(network(given).mean(0), dim=0) for name, network in networks.items()}
        self._colours: list[np.ndarray] = []
        self._sharpness: list[np.ndarray] = []
        self._features: dict[str, list[Tensor]] = {name: [] for name in networks}
        self._steps: list[float] = []
        self._last: np.ndarray | None = None
        self.first: np.ndarray | None = None

    def see(self, frames: np.ndarray) -> None:
        """The next frames, uint8 `[t, H, W, 3]`."""
        self._colours.append(mean_colours(frames))
        self._sharpness.append(sharpness(frames))
        for name, network in self.networks.items():
            self._features[name].append(network(frames))
        self.first = frames[0].copy() if self.first is None else self.first
        for frame in frames:
            self._steps.append(math.nan if self._last is None else _step(self._last, frame))
            self._last = frame.copy()

    def curves(self) -> dict[str, list[float]]:
        """A value of each frame against the mean of the given ones.

        `colour` is the distance of mean colours, as root of the mean square over the channels, in grey levels of 255;
        `sharpness` the share of their variance of the Laplacian; and by the name of each network the cosine to the mean
        of their features.
        """
        apart = np.concatenate(self._colours) - self.colour
        sharp = np.concatenate(self._sharpness)
        found = {
            "colour": np.sqrt((apart**2).mean(1)),
            "sharpness": sharp / self.sharp if self.sharp > 0 else np.ones_like(sharp),
        }
        for name, parts in self._features.items():
            found[name] = (torch.cat(parts) @ self.given[name]).numpy()
        return {name: values.tolist() for name, values in found.items()}

    def border_step(self, borders: Sequence[int]) -> float:
        """The mean step from one frame to the next where a new segment begins, as a share of the other steps; nan where
        there is no such place. 1: nobody sees where segments meet."""
        steps = np.array(self._steps)
        at = np.zeros(len(steps), bool)
        at[[border for border in borders if 0 < border < len(steps)]] = True
        if not at.any():
            return math.nan
        return _share(steps[at].mean(), float(np.nanmean(steps[~at])))

    def closing_step(self) -> float:
        """The step from the last frame to the first, as a share of the mean step; 1: a loop without a seam."""
        assert self._last is not None and self.first is not None, "it has seen frames"
        return _share(_step(self._last, self.first), float(np.nanmean(self._steps)))


def at_horizons(curve: Sequence[float], horizons: Sequence[int]) -> dict[str, float]:
    """The mean of a curve over the frames up to each horizon that it reaches."""
    return {str(h): float(np.mean(curve[max(0, h + 1 - WINDOW) : h + 1])) for h in horizons if h < len(curve)}


def horizons_of(frames: int) -> list[int]:
    """Those of `HORIZONS` that a video of so many frames has, and its last frame."""
    return sorted({horizon for horizon in HORIZONS if horizon < frames} | {frames - 1})


def identity_networks(encoders: Path | None, device: torch.device | str) -> tuple[dict[str, Network], dict[str, str]]:
    """What can tell here whether a frame still shows the same, and what is left out, with the reason.

    `identity_alexnet` compares the last features of ST-LPIPS's AlexNet, averaged over the frame, so that a thing may
    move; `identity` with its network behind the name the features of the encoder in the folder subject/ (DINO).

    Raises:
        InputError: a folder of encoders is not what it should be.
    """
    networks: dict[str, Network] = {}
    left_out: dict[str, str] = {}
    try:
        networks["identity_alexnet"] = _of_alexnet(PerceptualDistance.load().to(device))
    except InputError as error:
        left_out["identity_alexnet"] = str(error)
    if encoders is None:
        left_out["identity_dino"] = "no encoder: --encoders names a folder with a model of transformers in subject/"
        return networks, left_out
    encoder = subject_encoder(encoders / "subject", device)
    networks["identity_dino" if is_dino(encoder) else f"identity_{encoder.suffix}"] = encoder.features
    return networks, left_out


def _of_alexnet(network: PerceptualDistance) -> Network:
    @torch.no_grad()
    def features(frames: np.ndarray) -> Tensor:
        device = network.get_buffer("shift").device
        images = to_unit(frames).permute(0, 3, 1, 2).to(device)
        return functional.normalize(network.features(images)[-1].mean((2, 3)), dim=1).cpu()

    return features


def _step(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(np.int16) - other).mean())


def _share(step: float, usual: float) -> float:
    if usual > 0:
        return step / usual
    return 1.0 if step == 0 else math.inf
