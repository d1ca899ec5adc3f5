"""What a camera moves over: a part of a photograph or a drawn texture, large enough for its path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vgen.simulators.pictures import textures
from vgen.simulators.pictures.layers import Layer, fine_density
from vgen.simulators.pictures.motion import Path
from vgen.simulators.pictures.objects import ENLARGED, ObjectPicture
from vgen.simulators.pictures.opencv import cv2
from vgen.simulators.pictures.photographs import Photograph

PHOTOGRAPH_WORDS = ("a photograph", "a photo", "a picture", "an image")
TRIES = 4  # parts of photographs that are looked at for one ground
DETAIL = (2.0, 8.0)  # of photographs: how often each is taken follows it, between these
ENOUGH = 12.0  # standard deviation of the grey levels of a small picture of a part
MARGIN = 2.0  # pixels around what a path shows


@dataclass(frozen=True)
class Ground:
    """A layer that fills the frames, and what it is of.

    words: a noun, in long and in short.
    picture: the photograph's name, "" of a texture.
    """

    layer: Layer
    words: tuple[str, ...]
    picture: str = ""


class Scenery:
    """Where clips take their pictures from.

    Args:
        photographs: may be empty: then all grounds are drawn.
        size: of the frames, (H, W).
        objects: may be empty: then things are drawn, or cut out of photographs.
    """

    def __init__(
        self, photographs: Sequence[Photograph], size: tuple[int, int], objects: Sequence[ObjectPicture] = ()
    ) -> None:
        self._photographs, self.size, self._objects = photographs, size, objects
        weights = np.clip([photograph.detail for photograph in photographs], *DETAIL)
        self._chances = weights / weights.sum() if photographs else weights
        self.unit = min(size) / 128

    def ground(self, rng: np.random.Generator, path: Path, photograph: bool) -> Ground:
        """Something to see along a path."""
        return self._of_photograph(rng, path) if photograph and self._photographs else self._of_texture(rng, path)

    def photograph(self, rng: np.random.Generator) -> Photograph | None:
        """One of the photographs, those with much to see more often; None where there are none."""
        return self._photographs[int(rng.choice(len(self._chances), p=self._chances))] if self._photographs else None

    @property
    def has_objects(self) -> bool:
        """Whether there are pictures of objects."""
        return bool(self._objects)

    def object(self, rng: np.random.Generator, shown: float) -> ObjectPicture | None:
        """One of the objects that can be shown at so many pixels of a frame, by its longer side; None where none can.
        Where there are no objects, nothing is drawn from `rng`."""
        large = [each for each in self._objects if each.longest * ENLARGED >= shown]
        return large[int(rng.integers(len(large)))] if large else None

    def _of_texture(self, rng: np.random.Generator, path: Path) -> Ground:
        left, top, right, bottom = self._bounds(path)
        density = fine_density(path)
        size = (int(np.ceil((bottom - top) * density)), int(np.ceil((right - left) * density)))
        texture = textures.draw(rng, size, min(self.size) * density)
        return Ground(Layer(texture.pixels, (left, top), (density, density), path), texture.words)

    def _of_photograph(self, rng: np.random.Generator, path: Path) -> Ground:
        """A part of a photograph, on either side; those for testing as they are, others in varying colours."""
        photograph, part, scale = self._chosen(rng, path)
        left, top, _, _ = self._bounds(path)
        spans, density = (part.shape[0] / scale, part.shape[1] / scale), min(fine_density(path), scale)
        if density < scale:
            fitted = (max(1, round(spans[1] * density)), max(1, round(spans[0] * density)))
            part = cv2.resize(part, fitted, interpolation=cv2.INTER_AREA)
        if rng.random() < 0.5:
            part = np.ascontiguousarray(part[:, ::-1])
        if not photograph.held_out:
            part = _in_other_colours(rng, part)
        densities = (part.shape[1] / spans[1], part.shape[0] / spans[0])
        return Ground(Layer(part, (left, top), densities, path), (str(rng.choice(PHOTOGRAPH_WORDS)),), photograph.name)

    def _chosen(self, rng: np.random.Generator, path: Path) -> tuple[Photograph, np.ndarray, float]:
        """Of a few parts that are tried, the first with some contrast, or the one with most; see `_part`."""
        tried: list[tuple[float, Photograph, np.ndarray, float]] = []
        while len(tried) < TRIES:
            photograph = self.photograph(rng)
            assert photograph is not None  # or all is drawn
            part, scale = self._part(rng, photograph.pixels(), path)
            contrast = float(cv2.resize(part, (32, 32), interpolation=cv2.INTER_AREA).mean(2).std())
            tried.append((contrast, photograph, part, scale))
            if contrast > ENOUGH:
                break
        return max(tried, key=lambda each: each[0])[1:]

    def _part(self, rng: np.random.Generator, pixels: np.ndarray, path: Path) -> tuple[np.ndarray, float]:
        """The part of a photograph that a path sees, somewhere in it, and its pixels per pixel of a frame."""
        whole, share, place = pixels.shape[:2], rng.uniform(0.3, 1.0), rng.random(2)
        left, top, right, bottom = self._bounds(path)
        spans = (bottom - top, right - left)
        scale = min(share * min(whole) / min(self.size), whole[0] / spans[0], whole[1] / spans[1])
        height, width = (min(int(np.ceil(span * scale)), most) for span, most in zip(spans, whole, strict=True))
        y, x = int(place[0] * (whole[0] - height)), int(place[1] * (whole[1] - width))
        return np.ascontiguousarray(pixels[y : y + height, x : x + width]), scale

    def _bounds(self, path: Path) -> tuple[float, float, float, float]:
        left, top, right, bottom = path.bounds(self.size)
        return left - MARGIN, top - MARGIN, right + MARGIN, bottom + MARGIN


def _in_other_colours(rng: np.random.Generator, pixels: np.ndarray) -> np.ndarray:
    """A picture as another camera might show it: its contrast and saturation vary a little, its hue seldom a lot."""
    hue = rng.normal(0, 0.05) if rng.random() < 0.92 else rng.uniform(-np.pi, np.pi)
    saturation = rng.uniform(0.75, 1.3) if rng.random() < 0.95 else 0.0
    gamma = np.exp(rng.normal(0, 0.2))
    levels = (255 * (np.arange(256) / 255) ** gamma).round().astype(np.uint8)
    # in luma and two differences of colour (YIQ), the hue is an angle
    to_yiq = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    cos, sin = saturation * np.cos(hue), saturation * np.sin(hue)
    turned = np.linalg.inv(to_yiq) @ np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ to_yiq
    return np.asarray(cv2.transform(cv2.LUT(pixels, levels), turned))
