"""What a training clip gives as conditions: which pixel frames, and which pixels of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vgen import checks
from vgen.backbone.shapes import latent_frames
from vgen.errors import InputError

LONGEST = 10_000  # frames of a clip
KINDS = ("frames", "patches", "region", "clip", "text")


@dataclass
class ConditionsConfig:
    """How often each kind of condition is drawn, and how large it is.

    The paper's recipe (VideoCanvas, section 5.1) is `patches` alone, with 20 anchors cropped to 20-100 %.
    """

    # Chances of a batch to give: whole frames; patches, each cropped by itself; one region through time; a run of
    # frames that is encoded as a clip; nothing.
    frames: float = 0.5
    patches: float = 0.25
    region: float = 0.15
    clip: float = 0.05
    text: float = 0.05
    # Chances of 1, 2, 3 ... frames or patches.
    counts: list[float] = field(default_factory=lambda: [0.3, 0.4, 0.2, 0.1])
    ends: float = checks.within(0.4, 0, 1)  # of whole frames to stand at the ends, spread evenly, rather than anywhere
    crop: tuple[float, float] = (0.2, 1.0)  # sides of a patch, as shares of the frame's
    hole: tuple[float, float] = (0.2, 0.5)  # sides of the hole of a region: inpainting
    window: tuple[float, float] = (0.1, 0.4)  # area of the window of a region: outpainting
    region_step: int = 2  # a region is given at every so many frames
    clip_frames: list[int] = field(default_factory=lambda: [5, 9])  # lengths of a clip, each 1 + N·k


@dataclass(frozen=True)
class ConditionDraw:
    """One kind of condition for a batch: all its samples have the same number K of conditions, so no padding.

    Attributes:
        kind: one of `KINDS`.
        count: K.
        hole: of a region, whether all but a hole is given, or a window alone. A batch has one of the two, so that
            windows cost what they cover where a model prunes its conditions.
    """

    kind: str
    count: int
    hole: bool = False

    def latent_frames(self, stride: int) -> int:
        """How many latent frames they become with a codec of this temporal stride."""
        return latent_frames(self.count, stride) if self.kind == "clip" else self.count


Given = tuple[np.ndarray, np.ndarray]
"""Pixel frames int64 [K], and masks bool [K, H, W], True where a pixel is given."""


def check_conditions(config: ConditionsConfig, frames: int) -> None:
    """Refuses chances that nothing can be drawn from for clips of `frames` frames.

    Raises:
        InputError: it names the chances and the rule.
    """
    chances, counts = _chances(config, frames), np.array(config.counts[:frames], dtype=np.float64)
    for name, values in (("", chances), (".counts", np.array(config.counts, dtype=np.float64))):
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise InputError(f"objective.conditions{name}: the chances {values.tolist()} must be numbers of 0 or more")
    checks.whole("objective.conditions.region_step", config.region_step, 1, LONGEST)
    for name in ("crop", "hole", "window"):
        low, high = checks.numbers(f"objective.conditions.{name}", getattr(config, name), 2)
        if not 0 < low <= high <= 1:
            nearest = sorted(min(max(value, 0.01), 1.0) for value in (low, high))
            rule = f"must be a smaller and a larger share of the frame, above 0 and up to 1; nearest: {nearest}"
            raise InputError(f"objective.conditions.{name}=[{low:g}, {high:g}] {rule}")
    if not chances.sum():
        kinds = dict(zip(KINDS, chances.tolist(), strict=True))
        raise InputError(f"objective.conditions: of {kinds} none can be drawn for clips of {frames} frames; raise one")
    if config.frames + config.patches and not counts.sum():
        rule = f"the first {frames} of them count for clips of {frames} frames, and are all 0"
        raise InputError(f"objective.conditions.counts={config.counts}: {rule}; give one of them a chance")


def _chances(config: ConditionsConfig, frames: int) -> np.ndarray:
    """The weight of each of `KINDS`; a clip must leave something to complete."""
    fits = any(length < frames for length in config.clip_frames)
    return np.array([getattr(config, kind) if kind != "clip" or fits else 0.0 for kind in KINDS], dtype=np.float64)


def draw_conditions(config: ConditionsConfig, frames: int, rng: np.random.Generator) -> ConditionDraw:
    """The kind and number of conditions of a batch of clips of `frames` frames."""
    chances = _chances(config, frames)
    kind = str(rng.choice(KINDS, p=chances / chances.sum()))
    if kind == "text":
        return ConditionDraw(kind, 0)
    if kind == "region":
        return ConditionDraw(kind, len(range(0, frames, config.region_step)), hole=bool(rng.random() < 0.5))
    if kind == "clip":
        return ConditionDraw(kind, int(rng.choice([length for length in config.clip_frames if length < frames])))
    counts = np.array(config.counts[:frames])
    return ConditionDraw(kind, 1 + int(rng.choice(len(counts), p=counts / counts.sum())))


def draw_given(
    draw: ConditionDraw, config: ConditionsConfig, frames: int, size: tuple[int, int], rng: np.random.Generator
) -> Given:
    """The conditions of one sample.

    Args:
        draw: of its batch.
        frames: T of the clip.
        size: (H, W) of a frame.
    """
    if draw.kind == "region":
        mask = _hole(config, size, rng) if draw.hole else _window(config, size, rng)
        return np.arange(0, frames, config.region_step), np.repeat(mask[None], draw.count, axis=0)
    if draw.kind == "clip":
        return _run(draw.count, frames, rng), np.ones((draw.count, *size), dtype=bool)
    if draw.kind == "frames" and rng.random() < config.ends:
        places = _spread(draw.count, frames, rng)
    else:
        places = np.sort(rng.choice(frames, size=draw.count, replace=False))
    if draw.kind == "patches":
        return places, np.array([_box(size, rng.uniform(*config.crop, 2), rng) for _ in places])
    return places, np.ones((draw.count, *size), dtype=bool)


def _spread(count: int, frames: int, rng: np.random.Generator) -> np.ndarray:
    """First; first and last; first, middle and last ...; a single one stands at either end."""
    if count == 1:
        return np.array([0 if rng.random() < 0.75 else frames - 1])
    return np.linspace(0, frames - 1, count).round().astype(np.int64)


def _run(count: int, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Consecutive frames: the first ones, the last ones, or any, equally often."""
    last = frames - count
    return np.arange(count) + int(rng.choice([0, last, int(rng.integers(last + 1))]))


def _hole(config: ConditionsConfig, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    return ~_box(size, rng.uniform(*config.hole, 2), rng)


def _window(config: ConditionsConfig, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    side = rng.uniform(*config.window) ** 0.5
    return _box(size, np.array([side, side]), rng)


def _box(size: tuple[int, int], shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A box whose sides are shares of the frame's, anywhere in it: bool [H, W]."""
    mask = np.zeros(size, dtype=bool)
    sides = [max(1, round(length * share)) for length, share in zip(size, shares, strict=True)]
    top, left = (int(rng.integers(length - side + 1)) for length, side in zip(size, sides, strict=True))
    mask[top : top + sides[0], left : left + sides[1]] = True
    return mask
