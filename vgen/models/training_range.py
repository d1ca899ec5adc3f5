"""What a model was trained on, in figures that lie in its folder, so that a request outside of them can be told.

The file is `training_range.json`, beside `model_index.json`. A run writes it with its model, joined with that of the
model it began from (`TrainingRange.join`). None stands for what is not known, and of that nothing is told.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from vgen import checks
from vgen.errors import InputError
from vgen.files import write_whole
from vgen.models.picture_probe import PictureProbe
from vgen.models.words import words_of

FILE = "training_range.json"
MOST_WORDS = 50_000  # of captions that are kept: who knows more knows the language
QUANTILES = (0.01, 0.5, 0.99)  # of the codec's PSNR
STARTS = (0.001, 0.999)  # quantiles of the places where the hand was
FASTEST = 0.999  # quantile of the speeds of the hand

Size = tuple[int, int]
"""(H, W) in pixels."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class LayoutRange:
    """Where the hands of a layout were, and how fast they moved.

    Attributes:
        places: of each column that tells where a body is, by name, between which values it was (quantiles 0.001 and
            0.999), in the layout's unit. A clip begins anywhere in its episode, so this is where trajectories began.
        speeds: of each body, what its speed hardly ever exceeded (quantile 0.999), in that unit per second.
    """

    places: Mapping[str, tuple[float, float]]
    speeds: Mapping[str, float]

    @classmethod
    def of_values(cls, places: Mapping[str, np.ndarray], speeds: Mapping[str, np.ndarray]) -> Self:
        """From all places, by column, and all speeds, by body; nothing is known of a body that was never seen."""
        spans = {name: np.quantile(values, STARTS) for name, values in places.items() if len(values)}
        return cls(
            {name: (_rounded(low), _rounded(high)) for name, (low, high) in spans.items()},
            {body: _rounded(np.quantile(values, FASTEST)) for body, values in speeds.items() if len(values)},
        )

    def join(self, other: LayoutRange) -> LayoutRange:
        """What holds both."""
        spans = {
            name: (min(low, other.places[name][0]), max(high, other.places[name][1]))
            for name, (low, high) in self.places.items()
            if name in other.places
        }
        speeds = {body: max(speed, other.speeds[body]) for body, speed in self.speeds.items() if body in other.speeds}
        return LayoutRange({**self.places, **other.places, **spans}, {**self.speeds, **other.speeds, **speeds})


@dataclass(frozen=True)
class TrainingRange:
    """What a model was trained on.

    Attributes:
        sizes: (H, W) of its clips in pixels.
        frames: numbers of frames of its clips.
        rates: frames per second of its clips.
        conditions: kinds of what was given, as `ConditionsConfig` names them: frames, patches, region, clip, text.
        words: of its captions, in small letters; see `vgen.models.words`.
        codec_psnr: how well the codec holds single frames that it was trained on, in dB: quantiles 0.01, 0.5 and 0.99
            of the PSNR of a frame after encoder and decoder.
        layouts: of each trajectory layout, by name.
        hands: by layout, what tells from a picture's latent where its bodies are: the coordinates of `place_of` of all.
        scenes: by layout, what tells whether a picture is of its scenes, 1, or any other that was trained on, 0.
    """

    sizes: tuple[Size, ...] | None = None
    frames: tuple[int, ...] | None = None
    rates: tuple[float, ...] | None = None
    conditions: tuple[str, ...] | None = None
    words: frozenset[str] | None = None
    codec_psnr: tuple[float, float, float] | None = None
    layouts: Mapping[str, LayoutRange] = field(default_factory=dict)
    hands: Mapping[str, PictureProbe] = field(default_factory=dict)
    scenes: Mapping[str, PictureProbe] = field(default_factory=dict)

    def join(self, other: TrainingRange) -> TrainingRange:
        """What was trained on one after the other: all of both. Of what one does not know, nothing is known; but the
        codec is the later one's, `other`'s, where that says."""
        layouts = {name: known.join(other.layouts.get(name, known)) for name, known in self.layouts.items()}
        kept = {name: probe for name, probe in self.scenes.items() if name not in other.layouts}
        return TrainingRange(
            _union(self.sizes, other.sizes),
            _union(self.frames, other.frames),
            _union(self.rates, other.rates),
            _union(self.conditions, other.conditions),
            None if self.words is None or other.words is None else kept_words(self.words | other.words),
            other.codec_psnr or self.codec_psnr,
            {**other.layouts, **layouts},
            {**self.hands, **other.hands},
            {**kept, **other.scenes},
        )

    def adapted(self) -> TrainingRange:
        """Under a LoRA, which may have been trained on other sizes, lengths, words and kinds of conditions."""
        return replace(self, sizes=None, frames=None, rates=None, conditions=None, words=None)

    @classmethod
    def read(cls, folder: str | PathLike[str], model: str = "") -> TrainingRange | None:
        """Of a model's folder; None where it has none, as Wan's.

        Args:
            folder: of the model, on this machine.
            model: as messages are to name it.

        Raises:
            InputError: the file is damaged.
        """
        file = Path(folder, FILE)
        if not file.is_file():
            return None
        where = f"model {model or str(folder)!r}: {FILE}"
        try:
            kept = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{where} cannot be read: {' '.join(str(error).split())[:200]}") from error
        return cls.from_json(kept, where)

    def write(self, folder: str | PathLike[str]) -> None:
        """Writes the file into a model's folder."""
        lines = (
            f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in self.to_json().items()
        )
        write_whole(Path(folder, FILE), "{\n" + ",\n".join(lines) + "\n}\n")

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        kept: dict[str, Any] = {
            "sizes": self.sizes and [f"{height}x{width}" for height, width in self.sizes],
            "frames": self.frames and list(self.frames),
            "rates": self.rates and list(self.rates),
            "conditions": self.conditions and list(self.conditions),
            "codec_psnr": self.codec_psnr and list(self.codec_psnr),
            "layouts": {
                name: {"places": {key: list(span) for key, span in each.places.items()}, "speeds": dict(each.speeds)}
                for name, each in sorted(self.layouts.items())
            },
            "hands": {name: asdict(each) for name, each in sorted(self.hands.items())} or None,
            "scenes": {name: asdict(each) for name, each in sorted(self.scenes.items())} or None,
            "words": None if self.words is None else " ".join(sorted(self.words)),
        }
        return {name: value for name, value in kept.items() if value is not None}

    @classmethod
    def from_json(cls, kept: object, where: str = FILE) -> Self:
        """The inverse of `to_json`; what it does not know is passed over.

        Raises:
            InputError: a value is not usable.
        """
        if not isinstance(kept, Mapping):
            raise InputError(f"{where} must hold a JSON object; it is damaged")
        codec, words = kept.get("codec_psnr"), kept.get("words")
        layouts = _mapping(kept.get("layouts", {}), f"{where}: layouts")
        low, middle, high = (0.0, 0.0, 0.0) if codec is None else checks.numbers(f"{where}: codec_psnr", codec, 3)
        return cls(
            _several(kept, "sizes", where, _size),
            _several(kept, "frames", where, lambda name, value: checks.whole(name, value, 1, 10**6)),
            _several(kept, "rates", where, lambda name, value: checks.real(name, value, 1e-3, 1e5)),
            _several(kept, "conditions", where, checks.text),
            None if words is None else frozenset(words_of(checks.text(f"{where}: words", words))),
            None if codec is None else (low, middle, high),
            {name: _layout(each, f"{where}: layouts: {name}") for name, each in layouts.items()},
            *(_probes(kept.get(key, {}), f"{where}: {key}") for key in ("hands", "scenes")),
        )


def kept_words(words: Iterable[str]) -> frozenset[str] | None:
    """Words as they are kept; None of too many."""
    found = frozenset(words)
    return found if len(found) <= MOST_WORDS else None


def caption_words(captions: Iterable[str]) -> frozenset[str] | None:
    """The words of captions, as they are kept."""
    return kept_words({word for caption in set(captions) for word in words_of(caption)})


def psnr_quantiles(decibels: Sequence[float]) -> tuple[float, float, float]:
    """What is kept of the codec's PSNR of single frames."""
    low, middle, high = (round(float(value), 2) for value in np.quantile(decibels, QUANTILES))
    return low, middle, high


def _union(one: tuple[Value, ...] | None, other: tuple[Value, ...] | None) -> tuple[Value, ...] | None:
    return None if one is None or other is None else tuple(sorted({*one, *other}))  # type: ignore[type-var]


def _rounded(value: float) -> float:
    """To four digits that count."""
    return float(f"{value:.4g}")


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"{name}={checks.show(value)} must be a JSON object; it is damaged")
    return value


def _several(kept: Mapping[str, Any], key: str, where: str, one: Any) -> Any:
    """A sorted tuple of the values of a key; None where it is missing."""
    values = kept.get(key)
    if values is None:
        return None
    if not isinstance(values, list):
        raise InputError(f"{where}: {key}={checks.show(values)} must be a list; it is damaged")
    return tuple(sorted(one(f"{where}: {key}", value) for value in values))


def _size(name: str, value: object) -> Size:
    height, by, width = checks.text(name, value).partition("x")
    if not (by and height.isdecimal() and width.isdecimal()):
        raise InputError(f"{name}={checks.show(value)} must be HEIGHTxWIDTH, such as 128x128; it is damaged")
    return checks.whole(name, int(height), 1, 10**6), checks.whole(name, int(width), 1, 10**6)


def _layout(kept: object, where: str) -> LayoutRange:
    both = _mapping(kept, where)
    places, speeds = (_mapping(both.get(key, {}), f"{where}: {key}") for key in ("places", "speeds"))
    spans = {name: checks.numbers(f"{where}: {name}", span, 2) for name, span in places.items()}
    return LayoutRange(
        {name: (low, high) for name, (low, high) in spans.items()},
        {body: checks.real(f"{where}: speed of {body}", speed, 0, math.inf) for body, speed in speeds.items()},
    )


def _probes(kept: object, where: str) -> dict[str, PictureProbe]:
    found = {}
    for name, each in _mapping(kept, where).items():
        probe = _mapping(each, f"{where}: {name}")
        offset, weights = probe.get("offset"), probe.get("weights")
        if not (isinstance(offset, list) and isinstance(weights, list) and len(offset) == len(weights) > 0):
            raise InputError(f"{where}: {name} has no weights for each number of its offset; it is damaged")
        size = len(weights[0]) if isinstance(weights[0], list) else 0
        rows = [tuple(checks.numbers(f"{where}: {name}: weights", row, size)) for row in weights]
        reach = checks.real(f"{where}: {name}: reach", probe.get("reach"), 0, math.inf)
        found[name] = PictureProbe(
            tuple(checks.numbers(f"{where}: {name}: offset", offset, len(offset))), tuple(rows), reach
        )
    return found
