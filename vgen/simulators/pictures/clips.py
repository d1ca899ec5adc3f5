"""Makes clips: which kind, of what, how it moves, its caption, and what is true of it, all by a seed and a number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from vgen.simulators.pictures import captions, motion
from vgen.simulators.pictures.layers import draw_clip
from vgen.simulators.pictures.motion import Path
from vgen.simulators.pictures.scenery import Scenery
from vgen.simulators.pictures.scenes import Order, Scene, no_change
from vgen.simulators.pictures.things import Flight, fly
from vgen.simulators.pictures.transitions import transition

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


def kinds() -> list[str]:
    """The kinds of consecutive clips, each as often as its share says; every kind is among the first 20."""
    deck = [kind for kind, count in SHARES.items() for _ in range(count)]
    return [deck[place] for place in np.random.default_rng(202).permutation(len(deck))]


def make_clip(scenery: Scenery, seed: int, number: int, frames: int) -> Clip:
    """Clip `number` of a seed, of so many frames."""
    deck = kinds()
    kind = deck[number % len(deck)]
    order = Order(kind, scenery, frames, np.random.default_rng([seed, number]))
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


def _columns(scene: Scene, frames: int) -> dict[str, np.ndarray]:
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


def _camera(order: Order) -> Scene:
    """A camera alone, over a ground on which an object may stand."""
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
    gains = _changing_light(rng, frames) if order.kind == "light" else no_change(frames)
    swaying = order.kind in ("pan", "zoom", "light") and rng.random() < 0.25
    moved = path.plus(motion.shake(rng, frames, unit, 0.8)) if swaying else path
    ground = order.ground(moved)
    nouns, layers, pictures = ground.words, [ground.layer], []
    standing = order.standing(moved) if ground.picture else None
    if standing is not None:
        sprite, layer = standing
        nouns = (f"{sprite.words[0]} before {ground.words[-1]}", *sprite.words)
        layers.append(layer)
        pictures.append(sprite.picture)
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
    return Scene(layers, caption, [ground], gains, pictures=pictures)


def _mixed_path(order: Order) -> Path:
    """A pan with a zoom, a turn, or both."""
    rng, frames = order.rng, order.frames
    path = motion.pan(rng, frames, order.scenery.unit, fastest=2.0)
    also = rng.integers(3)
    if also != 1:
        path = path.plus(motion.zoom(rng, frames, 0.6))
    if also != 0:
        path = path.plus(motion.turn(rng, frames, 0.8))
    return path


def _parallax(order: Order) -> Scene:
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
        sprite, layer = order.sprite(radius, shifted)
        layers.append(layer)
        pictures.append(sprite.picture)
        words = sprite.words
    caption = captions.parallax(rng, path, words, ground.words)
    return Scene(layers, caption, [ground], no_change(frames), pictures=pictures)


def _object(order: Order) -> Scene:
    """A thing that moves over a ground, under a camera that stands or drifts."""
    rng, frames, unit = order.rng, order.frames, order.scenery.unit
    path = motion.still(frames) if rng.random() < 0.7 else motion.shake(rng, frames, unit, 1.5)
    ground = order.ground(path)
    radius = rng.uniform(0.12, 0.32) * min(order.scenery.size)
    flight = fly(rng, frames, order.scenery.size, radius)
    sprite, layer = order.sprite(radius, flight.path())
    caption = captions.over(rng, flight.deed, sprite.words, ground.words)
    scene = Scene([ground.layer, layer], caption, [ground], no_change(frames), pictures=[sprite.picture])
    scene.thing, scene.radius = flight, radius
    return scene


def _shapes(order: Order) -> Scene:
    """Two or three things that move over each other and over a ground."""
    rng, frames, size = order.rng, order.frames, order.scenery.size
    ground = order.ground(motion.still(frames))
    scene = Scene([ground.layer], "", [ground], no_change(frames))
    deeds, words = [], []
    for _ in range(rng.integers(2, 4)):
        radius = rng.uniform(0.1, 0.25) * min(size)
        flight = fly(rng, frames, size, radius, "move")
        sprite, layer = order.sprite(radius, flight.path(), drawn=True)
        scene.layers.append(layer)
        scene.thing, scene.radius = flight, radius  # the last is in front
        deeds.append(captions.to_the(motion.sector(flight.x[-1] - flight.x[0], flight.y[-1] - flight.y[0])))
        words.append(sprite.words)
    front = f"{{0}} moves {deeds[-1]}"
    forms = [f"{front} over {{2}}", f"{front} before {{1}}", f"{front}, {{1}} {deeds[0]}"]
    nouns = [words[-1], words[0], ground.words]
    scene.caption = captions.fitting(rng, forms, nouns, f"{words[-1][-1]} moves {deeds[-1]}")
    return scene


def _behind(order: Order) -> Scene:
    """A thing that passes behind one that stands."""
    rng, frames, size = order.rng, order.frames, order.scenery.size
    ground = order.ground(motion.still(frames))
    radius = rng.uniform(0.12, 0.22) * min(size)
    flight = fly(rng, frames, size, radius, str(rng.choice(["cross", "move"])))
    passing, layer = order.sprite(radius, flight.path())
    wide = rng.uniform(0.2, 0.35) * min(size)
    ones, at = np.ones(frames), rng.uniform(-0.1, 0.1, 2) * (size[1], size[0])
    post = Flight(at[0] * ones, at[1] * ones, ones, 0 * ones, "")
    standing, front = order.sprite(wide, post.path())
    caption = captions.over(rng, flight.deed, passing.words, standing.words, joined="behind")
    scene = Scene([ground.layer, layer, front], caption, [ground], no_change(frames))
    scene.thing, scene.radius, scene.pictures = flight, radius, [passing.picture, standing.picture]
    return scene


MAKERS: Mapping[str, Callable[[Order], Scene]] = dict.fromkeys(SHARES, _camera) | {
    "parallax": _parallax,
    "object": _object,
    "shapes": _shapes,
    "behind": _behind,
    "fade": transition,
    "wipe": transition,
    "push": transition,
}
