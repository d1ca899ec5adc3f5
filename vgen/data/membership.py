"""Which episodes of a run are trained on and which are held out: chosen once, and known again by what their frames are.

A run keeps it in `episodes.json`: per data set, for each episode that it ever held, its name, a checksum of its
caption, and whether it is held out.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np

from vgen.data.cache.sealed import read_sealed, write_sealed
from vgen.data.footage import Footage
from vgen.errors import InputError
from vgen.files import writing

logger = logging.getLogger(__name__)

FILE = "episodes.json"


@dataclass(frozen=True)
class _Known:
    """An episode: `held` is None while it is neither trained on nor held out, as one that is too short; `there` is
    whether the data set held it at the last start."""

    name: str
    caption: int
    held: bool | None
    there: bool = True


Part = dict[str, _Known]  # of a data set, by the key of the episode's frames


def split_episodes(count: int, held_out: float) -> tuple[list[int], list[int]]:
    """Places of (trained, held-out) episodes, the held-out ones spread evenly: at least one of each, or none held out
    where the share is 0.

    Raises:
        InputError: there is a single episode and some are to be held out, or the share is not in [0, 1).
    """
    if held_out == 0:
        return list(range(count)), []
    if count < 2 or not 0 < held_out < 1:
        raise InputError(
            f"held_out={held_out} of {count} episodes leaves nothing to train on or to validate with; 0 holds none out"
        )
    kept = min(max(1, round(count * held_out)), count - 1)
    out = sorted({int(n) for n in (np.arange(kept) + 0.5) * count / kept})
    return sorted(set(range(count)) - set(out)), out


def split_as_before(
    footage: Footage, kept: Sequence[int], held_out: float, run: Path, part: str
) -> tuple[list[int], list[int]]:
    """Places in `kept` of (trained, held-out) episodes. The first start of a run chooses them as `split_episodes` does.
    At every later one an episode stays what it was, wherever it lies and however it is called; one of new content and
    an old name is likely another copy, and stays what that was. Of new ones a share is held out, by their content. What
    has changed since the last start is told.

    Args:
        footage: a data set.
        kept: places in it of the episodes that can be used.
        run: folder of the run.
        part: names the data set in the run.

    Raises:
        InputError: see `split_episodes`; or what the run keeps is damaged, or nothing is left to train on.
    """
    file = run / FILE
    record = _read(file)
    before = {key: known.held for each in record.values() for key, known in each.items() if known.held is not None}
    every = _told_apart(footage.keys)
    keys = [every[place] for place in kept]
    named = {known.name: known.held for known in record.get(part, {}).values() if known.there}
    sides = [before.get(key, named.get(footage.episodes[n].name)) for key, n in zip(keys, kept, strict=True)]
    if held_out > 0 and any(side is not None for side in sides):
        drawn = (_drawn(key, held_out) if side is None else side for key, side in zip(keys, sides, strict=True))
        held = {key for key, side in zip(keys, drawn, strict=True) if side}
    else:
        held = {keys[place] for place in split_episodes(len(kept), held_out)[1]}
    _tell_copies(footage, keys, held)
    trained, out = ([n for n, key in enumerate(keys) if (key in held) == side] for side in (False, True))
    if not trained:
        raise InputError(
            f"{footage.name}: all {len(kept)} episodes that are left are held out, and none is to be trained on"
        )
    if held_out > 0 and not out:
        logger.warning("no held-out episode of %s is left: nothing is validated with", footage.name)
    old = record.get(part, {})
    # What is of no use here stays what it was: the same videos may come at several rates, and be too short for some.
    kept_before = {key: known.held for key, known in old.items() if known.held is not None}
    now = _part(footage, every, kept_before | dict.fromkeys(keys, False) | dict.fromkeys(held, True))
    if told := _changes(old, now):
        logger.warning("%s has changed since the last start of this run: %s", footage.name, told)
    gone = {key: _Known(known.name, known.caption, known.held, False) for key, known in old.items() if key not in now}
    if (gone | now) != old:
        with writing(file):
            run.mkdir(parents=True, exist_ok=True)
            _write(file, record | {part: gone | now})
    return trained, out


def _drawn(key: str, share: float) -> bool:
    """Whether a new episode is held out: a matter of its content alone."""
    return int(hashlib.sha256(f"held out {key}".encode()).hexdigest()[:8], 16) < share * 16**8


def _told_apart(keys: Sequence[str]) -> list[str]:
    """Keys, those that come again with a number behind them."""
    seen: Counter[str] = Counter()
    told = []
    for key in keys:
        seen[key] += 1
        told.append(key if seen[key] == 1 else f"{key} {seen[key]}")
    return told


def _tell_copies(footage: Footage, keys: Sequence[str], held: set[str]) -> None:
    frames = {key.split()[0] for key in held}
    copies = sum(key not in held and key.split()[0] in frames for key in keys)
    if copies:
        line = "%s: %d of %d trained episodes show the very frames of held-out ones; remove the copies"
        logger.warning(line, footage.name, copies, len(keys) - len(held))


def _part(footage: Footage, keys: Sequence[str], held: dict[str, bool]) -> Part:
    return {
        key: _Known(episode.name, crc32(episode.caption.encode("utf-8", "surrogatepass")), held.get(key))
        for key, episode in zip(keys, footage.episodes, strict=True)
    }


def _changes(old: Part, now: Part) -> str:
    """What differs between two starts, in words."""
    names = {known.name for known in old.values() if known.there}
    came = [known for key, known in now.items() if key not in old or not old[key].there]
    went = {known.name for key, known in old.items() if known.there and key not in now}
    changed = [known for known in came if known.name in went]
    new = [known for known in came if known.name not in went]
    captions = sum(old[key].caption != known.caption for key, known in now.items() if key in old)
    counts = [(len(changed), "changed"), (len(new), "new"), (len(went) - len(changed), "gone")]
    told = [f"{count} {what}" for count, what in counts if count] if names else []
    told += [f"{captions} with another caption"] if captions else []
    if not told:
        return ""
    out = sum(known.held is True for known in came)
    more = f"; {out} of the {len(came)} changed and new ones held out, all others as before" if came else ""
    return f"of {len(now)} videos {', '.join(told)}{more}"


def _read(file: Path) -> dict[str, Part]:
    if not file.exists():
        return {}
    try:
        return {part: {key: _Known(*known) for key, known in each.items()} for part, each in read_sealed(file).items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{file} says which episodes are held out, and cannot be read ({error}); put it back, or remove it, and "
            "they are chosen anew"
        ) from error


def _write(file: Path, record: dict[str, Part]) -> None:
    lists = {
        part: {key: [known.name, known.caption, known.held, known.there] for key, known in each.items()}
        for part, each in record.items()
    }
    write_sealed(file, lists)
