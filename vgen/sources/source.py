"""What a converter of a data set is: a list of takes, and how one of them is read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Protocol

import numpy as np

from vgen.checks import show
from vgen.errors import InputError


class LeftOut(Exception):
    """A take that cannot be converted; its text is the reason, in a few words without the take's name, such as
    "frame 12 of 40 is damaged". Takes of one reason are counted together, so what differs stands after a colon."""


@dataclass(frozen=True)
class Reading:
    """How a source is to be read.

    Attributes:
        folder: of the source, as its makers lay it out.
        cameras: those that are wanted, by the source's names; empty: all.
        layout: of the trajectory, where the source does not fix it.
        fps: frames per second of what is written, where it is not the source's own.
        more: options of one source alone, each of which its `options` names.
    """

    folder: Path
    cameras: tuple[str, ...] = ()
    layout: str | None = None
    fps: int | None = None
    more: Mapping[str, str] = field(default_factory=dict)


def read_options(texts: Sequence[str]) -> dict[str, str]:
    """Options of a source as a command is given them, KEY=VALUE each.

    Raises:
        InputError: one has no key or no value, or is given twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise InputError(f"{show(text)} is not KEY=VALUE, an option of the source")
        if name in found:
            raise InputError(f"{name} is given twice; give it once")
        found[name] = value
    return found


@dataclass(frozen=True)
class Take:
    """One recording of a source, which has not been read yet.

    Attributes:
        name: told by no other take of the source; episodes are in the order of these names.
        group: its scene or participant. All takes of a group go into one split.
        place: where the source finds it again: paths and plain values, which another process is given.
        split: where the source's makers say it; None: by group.
    """

    name: str
    group: str
    place: object
    split: str | None = None


class Frames(Protocol):
    """The frames of one camera, in the order of the rows."""

    def __len__(self) -> int: ...

    def read(self, start: int, stop: int) -> np.ndarray:
        """Frames start to stop - 1, uint8 [stop - start, H, W, 3]. Raises `LeftOut` for a damaged or missing one."""


@dataclass(frozen=True)
class Episode:
    """One take of T rows, in vgen's layouts, units and frames of reference.

    Where frames are scaled and cut (`--size`), what is told in the image goes with them: boxes of a layout with the
    first camera, `observation.intrinsics` (fx, fy, cx, cy in pixels, the middle of the first one at 0, 0) with the
    first camera, and `observation.intrinsics.CAMERA` with that one.

    Attributes:
        columns: float32 [T, D] by the source's feature keys; NaN where the source does not know a value.
        frames: by camera, T of each.
        sentence: what is done, in the words of the source's annotation; "" where it says nothing.
        extra: what else `meta/episodes` says of it, plain values; the same keys in every episode of a source.
        mended: how many rows (or other things) were mended, by what was done to them, such as
            {"actions moved one step back": 40}. The report adds them up.
    """

    columns: Mapping[str, np.ndarray]
    frames: Mapping[str, Frames]
    sentence: str
    extra: Mapping[str, object] = field(default_factory=dict)
    mended: Mapping[str, int] = field(default_factory=dict)


class Source(ABC):
    """A data set in the format of its makers. It is made anew in every process that converts.

    Attributes:
        options: what `Reading.more` may hold, and what each of it means.
        columns: the names of the dimensions of each column that an episode brings, by feature key.
        layouts: which trajectory layout a column has, by feature key.
        conventions: by feature key, what is to be known of a column beyond its layout: units, frame of reference,
            signs, what was mended. Written into the data set.
        cameras: of every episode, as features call them without "observation.images.".
        fps: frames (and rows) per second of every episode. Where a whole part of it is asked for (`Reading.fps`) and
            the source keeps its own, every second, third … row is written.
        robot_type: what moves.
    """

    options: ClassVar[Mapping[str, str]] = {}

    columns: Mapping[str, Sequence[str]]
    layouts: Mapping[str, str]
    conventions: Mapping[str, str] = MappingProxyType({})
    cameras: Sequence[str]
    fps: int
    robot_type: str

    @abstractmethod
    def __init__(self, reading: Reading) -> None:
        """Looks at the folder.

        Raises:
            InputError: it is not laid out as this source is, or has none of the cameras that are wanted.
        """

    @abstractmethod
    def takes(self) -> Sequence[Take]:
        """All takes, without reading any frame of them.

        Raises:
            InputError: there is none, or two have one name.
        """

    @abstractmethod
    def read(self, take: Take) -> Episode:
        """A take, whose frames are read later, piece by piece.

        Raises:
            LeftOut: it is damaged, or has too little of what is needed.
        """
