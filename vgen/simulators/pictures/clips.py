"""Makes clips: which kind, of what, how it moves, its caption, and what is true of it, all by a seed and a number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from vgen.simulators.pictures import captions, motion, sprites
from vgen.simulators.pictures.layers import Layer, draw_clip, fine_density
from vgen.simulators.pictures.motion import Path
from vgen.simulators.pictures.scenery import Ground, Scenery
from vgen.simulators.pictures.things import Flight, fly

OF_PHOTOGRAPHS = 0.65  # share of the grounds that are photographs
SHARES = {
    "pan": 8,
    "curve": 1,
    "zoom": 5,
    "turn": 3,
    "mixed": 4,
    "shake": 2,
    "still": 4,
    "light": 2,
    "loop": 3,
    "parallax": 4,
    "object": 5,
    "shapes": 2,
    "behind": 1,
    "fade": 3,
    "wipe": 2,
    "push": 1,
}
CAMERA = "observation.camera"
OBJECT = "observation.object"
SECOND = "observation.second_picture"
NAMES = {
    CAMERA: ("dx", "dy", "zoom", "turn", "light", "warmth"),
    OBJECT: ("x", "y", "radius"),
    SECOND: ("share",),
}


@dataclass(frozen=True)
class Clip:
    """One clip of T frames.

    frames: uint8 [T, H, W, 3].
    columns: float32 [T, D] by the keys of `NAMES`; docs/recording.md says what they hold.
    caption: what moves.
    about: its kind, and what it is of.
    """

    frames: np.ndarray
    columns: Mapping[str, np.ndarray]
    caption: str
    about: Mapping[str, object]


@dataclass
class _Scene:
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
class _Order:
    """What a kind's function is given."""

    kind: str
    scenery: Scenery
    frames: int
    rng: np.random.Generator

    def ground(self, path: Path) -> Ground:
        """Something that fills the frames along a path."""
        return self.scenery.ground(self.rng, path, bool(self.rng.random() < OF_PHOTOGRAPHS))


def kinds() -> list[str]:
    """The kinds of consecutive clips, each as often as its share says; every kind is among the first 20."""
    deck = [kind for kind, count in SHARES.items() for _ in range(count)]
    return [deck[place] for place in np.random.default_rng(202).permutation(len(deck))]


def make_clip(scenery: Scenery, seed: int, number: int, frames: int) -> Clip:
    """Clip `number` of a seed, of so many frames."""
    deck = kinds()
    kind = deck[number % len(deck)]
    order = _Order(kind, scenery, frames, np.random.default_rng([seed, number]))
    scene = MAKERS[kind](order)
    pixels = draw_clip(scene.layers, scenery.size)
    if scene.share is not None:
        share = scene.share.reshape(scene.share.shape + (1,) * (4 - scene.share.ndim))
        pixels = pixels * (1 - share) + draw_clip(scene.second, scenery.size) * share
    pixels *= scene.gains[:, None, None].astype(np.float32)
    about = {"kind": kind, "seed": seed, "number": number}
    named = [*(ground.picture for ground in scene.grounds), *scene.pictures]
    about["pictures"] = ", ".join(dict.fromkeys(name for name in named if name))
    drawn = np.rint(np.clip(pixels, 0, 255, out=pixels), out=pixels).astype(np.uint8)
    return Clip(drawn, _columns(scene, frames), scene.caption, about)


def _columns(scene: _Scene, frames: int) -> dict[str, np.ndarray]:
    light = scene.gains.mean(1)
    warmth = scene.gains[:, 0] / scene.gains[:, 2]
    changes = [np.append(values[1:] / values[:-1], 1.0) for values in (light, warmth)]
    thing = np.zeros((frames, 3))
    if scene.thing is not None:
        thing = np.stack([scene.thing.x, scene.thing.y, scene.radius * scene.thing.scale], axis=1)
    share = np.zeros(frames) if scene.share is None else scene.share.reshape(frames, -1).mean(1)
    return {
        CAMERA: np.column_stack([scene.grounds[0].layer.path.steps(), *changes]).astype(np.float32),
        OBJECT: thing.astype(np.float32),
        SECOND: share[:, None].astype(np.float32),
    }


def _no_change(frames: int) -> np.ndarray:
    return np.ones((frames, 3))


def _changing_light(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Gains [T, 3] of red, green and blue: brighter, darker, warmer or colder, one more than the other."""
    done = motion.profile(rng, frames)
    small = rng.uniform(-0.04, 0.04)
    if rng.random() < 0.6:
        bright, warm = rng.choice([-1, 1]) * rng.uniform(0.3, 0.9), small
    else:
        bright, warm = small, rng.choice([-1, 1]) * rng.uniform(0.2, 0.45)
    start = 0.0 if bright < 0 else -0.6 * bright
    exposure = start + bright * done
    tilt = warm * (done - 0.5)
    return np.asarray(np.exp(np.stack([exposure + tilt / 2, exposure, exposure - tilt / 2], axis=1)))


def _camera(order: _Order) -> _Scene:
    """A camera alone."""
    rng, frames, unit = order.rng, order.frames, order.scenery.unit
    path = {
        "pan": lambda: motion.pan(rng, frames, unit),
        "curve": lambda: motion.curve(rng, frames, unit),
        "zoom": lambda: motion.zoom(rng, frames),
        "turn": lambda: motion.turn(rng, frames),
        "mixed": lambda: _mixed_path(order),
        "shake": lambda: motion.shake(rng, frames, unit),
        "still": lambda: motion.still(frames),
        "light": lambda: motion.still(frames),
        "loop": lambda: motion.loop(rng, frames, unit),
    }[order.kind]()
    gains = _changing_light(rng, frames) if order.kind == "light" else _no_change(frames)
    swaying = order.kind in ("pan", "zoom", "light") and rng.random() < 0.25
    moved = path.plus(motion.shake(rng, frames, unit, 0.8)) if swaying else path
    ground = order.ground(moved)
    nouns = ground.words
    caption = {
        "pan": lambda: captions.pan(rng, path, unit, nouns),
        "curve": lambda: captions.curve(rng, path, nouns),
        "zoom": lambda: captions.zoom(rng, path, nouns),
        "turn": lambda: captions.turn(rng, path, nouns),
        "mixed": lambda: captions.mixed(rng, path, nouns),
        "shake": lambda: captions.shake(rng, nouns),
        "still": lambda: captions.still(rng, nouns),
        "light": lambda: captions.light(rng, gains, nouns),
        "loop": lambda: captions.loop(rng, path, nouns),
    }[order.kind]()
    return _Scene([ground.layer], caption, [ground], gains)


def _mixed_path(order: _Order) -> Path:
    """A pan with a zoom, a turn, or both."""
    rng, frames = order.rng, order.frames
    path = motion.pan(rng, frames, order.scenery.unit, fastest=2.0)
    also = rng.integers(3)
    if also != 1:
        path = path.plus(motion.zoom(rng, frames, 0.6))
    if also != 0:
        path = path.plus(motion.turn(rng, frames, 0.8))
    return path


def _parallax(order: _Order) -> _Scene:
    """Something near the camera, which a pan moves past faster than what lies behind it."""
    rng, frames, unit = order.rng, order.frames, order.scenery.unit
    path = motion.pan(rng, frames, unit, fastest=1.3)
    ground = order.ground(path)
    near = path.times(rng.uniform(1.6, 3.0))
    layers, pictures = [ground.layer], []
    words: tuple[str, ...] = ()
    for _ in range(rng.integers(1, 3)):
        radius = rng.uniform(0.2, 0.45) * min(order.scenery.size)
        at = rng.uniform(-0.4, 0.4, 2) * (order.scenery.size[1], order.scenery.size[0])
        middle = len(path) // 2
        shifted = Path(near.x - near.x[middle] - at[0], near.y - near.y[middle] - at[1], near.zoom, near.turn)
        sprite, layer = _sprite(order, radius, shifted)
        layers.append(layer)
        pictures.append(sprite.picture)
        words = sprite.words
    caption = captions.parallax(rng, path, words, ground.words)
    return _Scene(layers, caption, [ground], _no_change(frames), pictures=pictures)


def _sprite(order: _Order, radius: float, path: Path, drawn: bool = False) -> tuple[sprites.Sprite, Layer]:
    """A thing of a radius in pixels of the frame, under a path: cut out of a photograph, or drawn."""
    rng = order.rng
    side = max(8, 2 * round(radius * fine_density(path)))
    photograph = order.scenery.photograph(rng)
    if not drawn and photograph is not None and rng.random() < OF_PHOTOGRAPHS:
        sprite = sprites.cut_out(rng, photograph.pixels(), photograph.name, side)
    else:
        sprite = sprites.shape(rng, side)
    dense = side / (2 * radius)
    return sprite, Layer(sprite.pixels, (-radius, -radius), (dense, dense), path)


def _object(order: _Order) -> _Scene:
    """A thing that moves over a ground, under a camera that stands or drifts."""
    rng, frames, unit = order.rng, order.frames, order.scenery.unit
    path = motion.still(frames) if rng.random() < 0.7 else motion.shake(rng, frames, unit, 1.5)
    ground = order.ground(path)
    radius = rng.uniform(0.12, 0.32) * min(order.scenery.size)
    flight = fly(rng, frames, order.scenery.size, radius)
    sprite, layer = _sprite(order, radius, flight.path())
    caption = captions.over(rng, flight.deed, sprite.words, ground.words)
    scene = _Scene([ground.layer, layer], caption, [ground], _no_change(frames), pictures=[sprite.picture])
    scene.thing, scene.radius = flight, radius
    return scene


def _shapes(order: _Order) -> _Scene:
    """Two or three things that move over each other and over a ground."""
    rng, frames, size = order.rng, order.frames, order.scenery.size
    ground = order.ground(motion.still(frames))
    scene = _Scene([ground.layer], "", [ground], _no_change(frames))
    deeds, words = [], []
    for _ in range(rng.integers(2, 4)):
        radius = rng.uniform(0.1, 0.25) * min(size)
        flight = fly(rng, frames, size, radius, "move")
        sprite, layer = _sprite(order, radius, flight.path(), drawn=True)
        scene.layers.append(layer)
        scene.thing, scene.radius = flight, radius  # the last is in front
        deeds.append(captions.to_the(motion.sector(flight.x[-1] - flight.x[0], flight.y[-1] - flight.y[0])))
        words.append(sprite.words)
    front = f"{{0}} moves {deeds[-1]}"
    forms = [f"{front} over {{2}}", f"{front} before {{1}}", f"{front}, {{1}} {deeds[0]}"]
    nouns = [words[-1], words[0], ground.words]
    scene.caption = captions.fitting(rng, forms, nouns, f"{words[-1][-1]} moves {deeds[-1]}")
    return scene


def _behind(order: _Order) -> _Scene:
    """A thing that passes behind one that stands."""
    rng, frames, size = order.rng, order.frames, order.scenery.size
    ground = order.ground(motion.still(frames))
    radius = rng.uniform(0.12, 0.22) * min(size)
    flight = fly(rng, frames, size, radius, str(rng.choice(["cross", "move"])))
    passing, layer = _sprite(order, radius, flight.path())
    wide = rng.uniform(0.2, 0.35) * min(size)
    ones, at = np.ones(frames), rng.uniform(-0.1, 0.1, 2) * (size[1], size[0])
    post = Flight(at[0] * ones, at[1] * ones, ones, 0 * ones, "")
    standing, front = _sprite(order, wide, post.path())
    caption = captions.over(rng, flight.deed, passing.words, standing.words, joined="behind")
    scene = _Scene([ground.layer, layer, front], caption, [ground], _no_change(frames))
    scene.thing, scene.radius, scene.pictures = flight, radius, [passing.picture, standing.picture]
    return scene


def _transition(order: _Order) -> _Scene:
    """One picture that is led over into another, under one slow camera."""
    rng, frames, unit, size = order.rng, order.frames, order.scenery.unit, order.scenery.size
    stand = motion.still(frames)
    slow = (stand, motion.pan(rng, frames, unit, 0.5), motion.zoom(rng, frames, 0.15))
    path = stand if order.kind == "push" else slow[rng.integers(len(slow))]
    first, second = order.ground(path), order.ground(path)
    start, stop = rng.uniform(0, 0.3), rng.uniform(0.7, 1)
    done = np.clip((np.linspace(0, 1, frames) - start) / (stop - start), 0, 1)
    done = done if order.kind == "wipe" else done * done * (3 - 2 * done)
    dx, dy = ((1, 0), (-1, 0), (0, 1), (0, -1))[rng.integers(4)]
    span = size[1] if dx else size[0]
    if order.kind == "fade":
        share = done
    else:
        share = _swept(done, (dx, dy), size, 0.5 / span if order.kind == "push" else rng.uniform(0.01, 0.12))
    if order.kind == "push":  # the second picture lies beside the first, and the camera moves on to it
        far = span * done
        first = _seen_along(first, Path(-dx * far, -dy * far, stand.zoom, stand.turn))
        second = _seen_along(second, Path(dx * (span - far), dy * (span - far), stand.zoom, stand.turn))
    caption = captions.between(rng, order.kind, motion.sector(dx, dy), first.words, second.words)
    scene = _Scene([first.layer], caption, [first, second], _no_change(frames))
    scene.second, scene.share = [second.layer], share.astype(np.float32)
    return scene


def _swept(done: np.ndarray, to: tuple[int, int], size: tuple[int, int], soft: float) -> np.ndarray:
    """How far an edge has passed each pixel that moves over the frames towards (dx, dy): [T, H, W], 0 to 1.

    Args:
        done: of its way, 0 to 1, [T].
        to: a direction along an axis.
        size: of the frames.
        soft: half of the edge's width, as a share of its way.
    """
    dx, dy = to
    ys, xs = np.mgrid[: size[0], : size[1]] + 0.5
    along = (dx * (xs - size[1] / 2) + dy * (ys - size[0] / 2)) / (size[1] if dx else size[0]) + 0.5
    edge = done if soft < 0.01 else -soft + (1 + 2 * soft) * done
    return np.asarray(np.clip((edge[:, None, None] - along) / (2 * soft) + 0.5, 0, 1))


def _seen_along(ground: Ground, path: Path) -> Ground:
    return replace(ground, layer=replace(ground.layer, path=path))


MAKERS: Mapping[str, Callable[[_Order], _Scene]] = dict.fromkeys(SHARES, _camera) | {
    "parallax": _parallax,
    "object": _object,
    "shapes": _shapes,
    "behind": _behind,
    "fade": _transition,
    "wipe": _transition,
    "push": _transition,
}
