"""Transitions: one picture that is led over into another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vgen.simulators.pictures import captions, motion
from vgen.simulators.pictures.motion import Path
from vgen.simulators.pictures.scenery import Ground
from vgen.simulators.pictures.scenes import Order, Scene, no_change


def transition(order: Order) -> Scene:
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
    scene = Scene([first.layer], caption, [first, second], no_change(frames))
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
