"""Clips in the making: what they are made of, and what is told of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vgen.simulators.pictures import sprites
from vgen.simulators.pictures.layers import Layer, fine_density
from vgen.simulators.pictures.motion import Path
from vgen.simulators.pictures.objects import ObjectPicture
from vgen.simulators.pictures.scenery import Ground, Scenery
from vgen.simulators.pictures.sprites import Sprite
from vgen.simulators.pictures.things import Flight

OF_PHOTOGRAPHS = 0.65  # share of the grounds that are photographs
OF_OBJECTS = 0.6  # share of the things that are objects, where there are any
STANDING = 0.3  # share of the clips of a camera over a photograph in which an object stands on it, where there are any


@dataclass
class Scene:
    """A clip in the making: what is drawn, and what is told of it.

    second: the layers of a second picture, which `share` float [T] or [T, H, W, 1] mixes in.
    shown: the mean share of the second picture, [T].
    """

    layers: list[Layer]
    caption: str
    grounds: list[Ground]
    gains: np.ndarray
    thing: Flight | None = None
    radius: float = 0.0
    second: list[Layer] = field(default_factory=list)
    share: np.ndarray | None = None
    pictures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Order:
    """What a kind's function is given."""

    kind: str
    scenery: Scenery
    frames: int
    rng: np.random.Generator

    def ground(self, path: Path) -> Ground:
        """Something that fills the frames along a path."""
        return self.scenery.ground(self.rng, path, bool(self.rng.random() < OF_PHOTOGRAPHS))

    def sprite(self, radius: float, path: Path, drawn: bool = False) -> tuple[Sprite, Layer]:
        """A thing of a radius in pixels of the frame, under a path: an object, cut out of a photograph, or drawn."""
        rng, side = self.rng, _side(radius, path)
        picture = None if drawn else self._object(radius, path)
        if picture is not None and rng.random() < OF_OBJECTS:
            return _placed(_sprite_of(rng, picture, side), radius, path)
        photograph = self.scenery.photograph(rng)
        if not drawn and photograph is not None and rng.random() < OF_PHOTOGRAPHS:
            return _placed(sprites.cut_out(rng, photograph.pixels(), photograph.name, side), radius, path)
        return _placed(sprites.shape(rng, side), radius, path)

    def standing(self, path: Path) -> tuple[Sprite, Layer] | None:
        """An object that stands on the ground which a path sees, near the middle of its middle frame; None in most
        clips, and where there are no objects."""
        rng, middle, size = self.rng, len(path) // 2, self.scenery.size
        if not self.scenery.has_objects or rng.random() >= STANDING:
            return None
        radius = rng.uniform(0.15, 0.35) * min(size) / path.zoom[middle]
        right, down = rng.uniform(-0.25, 0.25, 2) * (size[1], size[0]) / path.zoom[middle]
        picture = self._object(radius, path)
        if picture is None:
            return None
        cos, sin = np.cos(path.turn[middle]), np.sin(path.turn[middle])
        x, y = path.x[middle] + cos * right - sin * down, path.y[middle] + sin * right + cos * down
        seen = Path(path.x - x, path.y - y, path.zoom, path.turn)
        return _placed(_sprite_of(rng, picture, _side(radius, seen)), radius, seen)

    def _object(self, radius: float, path: Path) -> ObjectPicture | None:
        return self.scenery.object(self.rng, 2 * radius * float(path.zoom.max()))


def _side(radius: float, path: Path) -> int:
    """Pixels of a thing's square."""
    return max(8, 2 * round(radius * fine_density(path)))


def _sprite_of(rng: np.random.Generator, picture: ObjectPicture, side: int) -> Sprite:
    return sprites.of_object(rng, picture.pixels(), picture.name, picture.words, side)


def _placed(sprite: Sprite, radius: float, path: Path) -> tuple[Sprite, Layer]:
    """A thing, and its layer under a path."""
    dense = len(sprite.pixels) / (2 * radius)
    return sprite, Layer(sprite.pixels, (-radius, -radius), (dense, dense), path)


def no_change(frames: int) -> np.ndarray:
    """Light that stays: gains [T, 3]."""
    return np.ones((frames, 3))
