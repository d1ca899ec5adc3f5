"""One take of a source, read and written aside: its videos, its columns, and what the report says of it."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from vgen.data.lerobot.staging import write_episode
from vgen.errors import InputError, RunStopped
from vgen.files import replaced_folder
from vgen.media.video import forget_videos
from vgen.media.writing import VideoWriter
from vgen.sources import open_source
from vgen.sources.conversion.placement import Placement, placed_columns
from vgen.sources.reading.frames import pieces
from vgen.sources.source import Episode, Frames, LeftOut, Reading, Source, Take

logger = logging.getLogger(__name__)

TOLD = "told.json"  # beside the videos and columns of a take that waits
LEAST_ROWS = 2
CUT_HANDS = "hands in what was cut off the frames, now not seen"
ODD_SIDES = "frames of an odd height or width, cut by one pixel"


@dataclass(frozen=True)
class Plan:
    """What a process needs to convert takes.

    Attributes:
        name: of the source.
        reading: how it is read.
        size: (H, W) of the frames as they are written; None: as they are read.
        fps: frames per second of what is written; of the source's, a whole part.
        staging: where takes wait.
    """

    name: str
    reading: Reading
    size: tuple[int, int] | None
    fps: int
    staging: Path

    def folder(self, take: Take) -> Path:
        """Where a take waits, whatever signs its name has."""
        return self.staging / hashlib.sha256(take.name.encode(errors="surrogatepass")).hexdigest()[:24]


@dataclass(frozen=True)
class Outcome:
    """What became of a take.

    Attributes:
        name: of the take.
        rows: T, as written.
        sizes: (H, W) of the frames by camera.
        invalid: rows with a value that is not known, by column.
        mended: how many things were mended, by what was done.
        left_out: why it was; "" where it was not.
    """

    name: str
    rows: int = 0
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    invalid: Mapping[str, int] = field(default_factory=dict)
    mended: Mapping[str, int] = field(default_factory=dict)
    left_out: str = ""


def convert_take(plan: Plan, take: Take) -> Outcome:
    """Converts a take, unless it waits already. A take that cannot be read is left out, for whatever reason.

    Raises:
        OSError, InputError, TryAgain: what is written has no room, or is not allowed.
    """
    folder = plan.folder(take)
    if folder.is_dir():
        return _told(folder)
    try:
        source = _source(plan)
        with replaced_folder(folder) as part:
            part.mkdir()
            outcome = _write(plan, source, take, part)
            (part / TOLD).write_text(json.dumps(asdict(outcome)))
        return outcome
    except LeftOut as reason:
        return Outcome(take.name, left_out=" ".join(str(reason).split()))
    finally:
        forget_videos()


def _told(folder: Path) -> Outcome:
    told = json.loads((folder / TOLD).read_text())
    sizes = {camera: (height, width) for camera, (height, width) in told.pop("sizes").items()}
    return Outcome(**told, sizes=sizes)


_sources: dict[str, Source] = {}


def _source(plan: Plan) -> Source:
    """The source of this process, opened once."""
    key = repr((plan.name, plan.reading))
    if key not in _sources:
        _sources.clear()
        _sources[key] = open_source(plan.name, plan.reading)
    return _sources[key]


def _write(plan: Plan, source: Source, take: Take, folder: Path) -> Outcome:
    step = source.fps // plan.fps
    with _reading():
        episode = source.read(take)
        columns = _checked(source, episode)
    columns = {key: values[::step] for key, values in columns.items()}
    placements = {
        camera: _write_video(plan, episode.frames[camera], step, folder / f"{camera}.mp4") for camera in source.cameras
    }
    columns, hidden = placed_columns(columns, source.layouts, placements)
    rows = len(next(iter(columns.values())))
    odd = rows * sum(place.moves and plan.size is None for place in placements.values())
    mended = {**episode.mended, CUT_HANDS: hidden, ODD_SIDES: odd}
    write_episode(folder, columns, episode.sentence, {"take": take.name, "group": take.group} | dict(episode.extra))
    return Outcome(
        take.name,
        rows,
        {camera: place.size for camera, place in placements.items()},
        _counted({key: int((~np.isfinite(values).all(1)).sum()) for key, values in columns.items()}),
        _counted(mended),
    )


def _counted(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: int(count) for name, count in counts.items() if count}


def _checked(source: Source, episode: Episode) -> dict[str, np.ndarray]:
    """The columns of an episode as float32, NaN where they are not finite.

    Raises:
        LeftOut: rows and frames do not fit together.
    """
    assert set(episode.columns) == set(source.columns), f"columns {sorted(episode.columns)}"
    assert set(episode.frames) == set(source.cameras), f"cameras {sorted(episode.frames)}"
    columns = {}
    for key, names in source.columns.items():
        with np.errstate(over="ignore", invalid="ignore"):  # what is too large for float32 is not known
            values = np.asarray(episode.columns[key]).astype(np.float32)
        assert values.ndim == 2 and values.shape[1] == len(names), f"{key} of {values.shape}"
        columns[key] = np.where(np.isfinite(values), values, np.float32("nan"))
    counts = {key: len(values) for key, values in columns.items()}
    counts |= {camera: len(frames) for camera, frames in episode.frames.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise LeftOut(f"it has not as many rows as frames: {told}")
    if min(counts.values()) < LEAST_ROWS:
        raise LeftOut(f"it is shorter than {LEAST_ROWS} frames: {min(counts.values())}")
    return columns


def _write_video(plan: Plan, frames: Frames, step: int, path: Path) -> Placement:
    """Writes one camera, a few frames at a time; returns where they went."""
    place = None
    with VideoWriter(path, plan.fps) as video:
        for piece in _readable(pieces(frames if step == 1 else _EveryNth(frames, step))):
            place = place or Placement.of(piece.shape[1:3], plan.size)
            if piece.shape[1:3] != place.given:
                raise LeftOut(f"its frames are of different sizes: {place.given} and {piece.shape[1:3]}")
            if min(place.size) < 2:
                raise LeftOut(f"its frames are too small: {place.given}")
            video.add(place.pixels(piece))
    assert place is not None, "there are frames"
    return place


class _EveryNth:
    """Every n-th of some frames."""

    def __init__(self, frames: Frames, step: int) -> None:
        self._frames, self._step = frames, step

    def __len__(self) -> int:
        return -(-len(self._frames) // self._step)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Frames start to stop - 1 of those that are kept."""
        kept = range(start * self._step, stop * self._step, self._step)
        return np.concatenate([self._frames.read(number, number + 1) for number in kept])


def _readable(read: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The pieces of an iterator; what cannot be read of it is a reason to leave the take out."""
    while True:
        with _reading():
            piece = next(read, None)
        if piece is None:
            return
        yield piece


@contextmanager
def _reading() -> Iterator[None]:
    """A block that reads a take: whatever a damaged file makes of it is a reason to leave the take out."""
    try:
        yield
    except (LeftOut, RunStopped):
        raise
    except InputError as error:
        raise LeftOut(f"it cannot be read: {error}") from error
    except MemoryError as error:
        raise LeftOut("it needs more memory than there is") from error
    except Exception as error:  # of formats of others, damaged ones raise nearly any
        logger.debug("a take cannot be read", exc_info=True)
        raise LeftOut(f"it cannot be read: {type(error).__name__}, {error}") from error
