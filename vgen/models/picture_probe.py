"""What a picture tells by its latent alone, read off by a linear map: where the hand is, and whose scene it is.

No network is asked: the map is fitted to what a run encodes anyhow, by ridge regression (Hoerl and Kennard, 1970), on
the means of the latent's channels over the quarters of the picture; whose scene it is, on their standard deviations
too. It is as good as that: enough to tell a trajectory that begins elsewhere from one that begins at the hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

GRID = 2  # parts along a side of the picture
RIDGE = 0.01  # of the mean squared norm of a picture's values
BLOCKS = 100  # that pictures are held out in, at most: neighbours are of one episode
EVERY = 5  # one of so many blocks is held out
WITHIN = 0.99  # share of held-out pictures of which `reach` holds
LEAST = 40  # pictures to be fitted to, and four to a block


@dataclass(frozen=True)
class PictureProbe:
    """A linear map from the latent of a picture to P numbers.

    Attributes:
        offset: P numbers, the answer for a latent of zeros.
        weights: for each of them F numbers.
        reach: how far the answer lies from the truth in nearly all (0.99) pictures that were not fitted to.
    """

    offset: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]
    reach: float

    @classmethod
    def fit(cls, looks: np.ndarray, truth: np.ndarray) -> Self | None:
        """Fits to pictures in the order of their episodes; None of too few. How far it is off is measured with a fifth
        of them left out.

        Args:
            looks: [K, F] of `latent_means` or `latent_looks`.
            truth: [K, P].
        """
        if len(looks) < LEAST:
            return None
        blocks = min(BLOCKS, len(looks) // 4)
        held = np.arange(len(looks)) * blocks // len(looks) % EVERY == EVERY - 1
        weights, offset = _ridge(looks[~held], truth[~held])
        far = np.linalg.norm(looks[held] @ weights + offset - truth[held], axis=1)
        weights, offset = _ridge(looks, truth)
        return cls(
            tuple(_rounded(offset)),
            tuple(map(tuple, map(_rounded, weights.T))),
            _rounded([np.quantile(far, WITHIN)])[0],
        )

    def answer(self, looks: np.ndarray) -> np.ndarray | None:
        """[P] for the [F] of one picture; None of a latent that is not of the codec which it was fitted to."""
        weights = np.array(self.weights)
        return None if weights.shape[1:] != looks.shape else weights @ looks + np.array(self.offset)


def latent_means(latents: np.ndarray) -> np.ndarray:
    """Means over GRID x GRID parts of latents [K, C, h, w]: [K, GRID² · C]."""
    return np.concatenate([part.mean((2, 3), dtype=np.float64) for part in _quarters(latents)], axis=1)


def latent_looks(latents: np.ndarray) -> np.ndarray:
    """What `latent_means` gives, and the standard deviations within the same parts: [K, 2 · GRID² · C]."""
    spreads = [part.std((2, 3), dtype=np.float64) for part in _quarters(latents)]
    return np.concatenate([latent_means(latents), *spreads], axis=1)


def means_of(looks: np.ndarray) -> np.ndarray:
    """The means [..., GRID² · C] in what `latent_looks` gives."""
    return looks[..., : looks.shape[-1] // 2]


def _quarters(latents: np.ndarray) -> list[np.ndarray]:
    rows, columns = (_parts(side) for side in latents.shape[2:])
    return [latents[:, :, row, column] for row in rows for column in columns]


def _parts(side: int) -> list[slice]:
    """GRID runs that cover a side, with a common row where it is no multiple."""
    return [slice(part * side // GRID, -(-(part + 1) * side // GRID)) for part in range(GRID)]


def _ridge(looks: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights [F, P] and offset [P]."""
    centre, middle = looks.mean(0), truth.mean(0)
    apart = looks - centre
    products = apart.T @ apart
    strength = RIDGE * max(float((apart**2).sum(1).mean()), 1e-12)
    weights = np.linalg.solve(products + strength * np.eye(len(products)), apart.T @ (truth - middle))
    return weights, middle - centre @ weights


def _rounded(values: Sequence[float] | np.ndarray) -> list[float]:
    """To four digits that count."""
    return [float(f"{value:.4g}") for value in values]
