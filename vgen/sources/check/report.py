"""What a check has found, as text and as plain values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby

import numpy as np

from vgen.sources.check.delay import Delay
from vgen.sources.check.recordings import Recordings
from vgen.sources.check.survey import Column, Survey

WIDE = 16  # dimensions of a column that are told one by one


@dataclass(frozen=True, eq=False)
class Report:
    """A checked data set.

    Attributes:
        recordings: that were checked.
        survey: of all episodes.
        suspicions: a line each.
        delays: of the trajectory, and of the camera where it moves.
        looked_at: numbers of the episodes whose frames were looked at.
        undecoded: reasons why frames of others could not be.
    """

    recordings: Recordings
    survey: Survey
    suspicions: Sequence[str]
    delays: Sequence[Delay]
    looked_at: Sequence[int]
    undecoded: Sequence[str]

    def lines(self) -> Iterator[str]:
        """To be read."""
        recordings, survey = self.recordings, self.survey
        splits = ", ".join(f"{name} {count}" for name, count in recordings.splits.items())
        rows = sum(place.length for place in recordings.places)
        long = f"{rows / recordings.fps / 60:.1f} minutes"
        told = f"{len(recordings.places)} episodes, {rows} rows at {recordings.fps:g}/s ({long})"
        yield f"{recordings.folder}: {told}; {splits}"
        camera = f"camera {recordings.camera.rsplit('.', 1)[-1]}" if recordings.camera else "no camera"
        yield f"{recordings.column} as {recordings.layout.name}, {camera}"
        for name, column in survey.columns.items():
            yield ""
            yield from _table(name, _names(recordings, name, len(column.low)), column)
        yield ""
        yield from self._rows()
        yield ""
        yield from self._verdicts()

    def _rows(self) -> Iterator[str]:
        survey = self.survey
        lost = survey.columns[self.recordings.column].lost if survey.columns else 0
        gaps = f", in {len(survey.gaps)} gaps, the longest of {max(survey.gaps)}" if survey.gaps else ""
        yield f"not valid: {lost} of {survey.rows} rows{gaps}"
        for body, rows in survey.unseen.items():
            if rows > lost:
                yield f"{body}: not told of in {rows} rows"
        if survey.late:
            yield f"late: {len(survey.late)} rows come late, the latest after {max(survey.late):.3g} s"
        for body, jumps in survey.jumps(self.recordings.layout).items():
            unit = "m/s" if jumps.unit == "m" else f"{jumps.unit}/s".replace("of the picture/s", "pictures/s")
            told = f"{body}: {jumps.usual:.3g} {unit} while it moves; {jumps.count} jumps"
            where = f", the fastest {jumps.fastest:.3g} {unit} in episode {jumps.episode}, row {jumps.row}"
            yield told + (where if jumps.count else f" (fastest {jumps.fastest:.3g} {unit})")
        for reason, places in survey.refused.items():
            yield f"not read: {len(places)} episodes, the first {places[0].index}: {reason}"
        for reason in self.undecoded:
            yield f"frames not read: {reason}"

    def _verdicts(self) -> Iterator[str]:
        if not self.suspicions:
            yield "suspicions: none"
        else:
            yield "suspicions:"
            yield from (f"  {line}" for line in self.suspicions)
        if not self.delays:
            yield "delay: cannot be told; no frames were read"
        for delay in self.delays:
            yield verdict(delay, self.recordings.fps)

    def to_json(self) -> dict[str, object]:
        """Plain values; NaN is left to whoever writes them."""
        recordings, survey = self.recordings, self.survey
        jumps = {body: asdict(found) for body, found in survey.jumps(recordings.layout).items()}
        return {
            "folder": str(recordings.folder),
            "column": recordings.column,
            "layout": recordings.layout.name,
            "camera": recordings.camera,
            "fps": recordings.fps,
            "splits": recordings.splits,
            "columns": {
                name: _plain(_names(recordings, name, len(column.low)), column)
                for name, column in survey.columns.items()
            },
            "rows": survey.rows,
            "gaps": {"count": len(survey.gaps), "longest": max(survey.gaps, default=0)},
            "unseen": dict(survey.unseen),
            "late": {"count": len(survey.late), "longest_s": max(survey.late, default=0.0)},
            "jumps": jumps,
            "refused": {reason: [place.index for place in places] for reason, places in survey.refused.items()},
            "undecoded": list(self.undecoded),
            "suspicions": list(self.suspicions),
            "delays": [asdict(delay) | {"told": verdict(delay, recordings.fps)} for delay in self.delays],
            "episodes": list(self.looked_at),
        }


def verdict(delay: Delay, fps: float) -> str:
    """What a delay means, in one line."""
    head = f"delay ({delay.signal}): "
    if delay.doubt:
        return f"{head}cannot be told; {delay.doubt}"
    span = f"{delay.rows:+}" if delay.low == delay.high else f"{delay.low:+} to {delay.high:+}"
    how = f"correlation {delay.correlation:.2f} of {delay.pieces} episodes; nine resamples in ten: {span}"
    if delay.rows == 0:
        return f"{head}0 rows; {how}"
    late, far = delay.rows > 0, abs(delay.rows)
    rows, where = f"{far} row{'s' * (far > 1)} ({far / fps:.3g} s)", "after" if late else "before"
    mend = f"what frame k shows is told in row k {'+' if late else '-'} {far}"
    return f"{head}NOT 0: the trajectory comes {rows} {where} the picture; {mend}; {how}"


def _names(recordings: Recordings, name: str, width: int) -> list[str]:
    if name == recordings.column:
        return recordings.layout.names
    told = recordings.features.get(name, {}).get("names")
    if isinstance(told, list) and len(told) == width:
        return [str(each) for each in told]
    return [str(number) for number in range(width)]


def _table(title: str, names: Sequence[str], column: Column) -> Iterator[str]:
    lost = f"{column.lost} of {column.rows} rows not finite" if column.lost else ""
    yield f"{title:<32}{'min':>12}{'mean':>12}{'max':>12}  {lost}".rstrip()
    for label, places in _groups(names):
        low, high, mean = column.low[places].min(), column.high[places].max(), np.nanmean(column.mean[places])
        still = "never changes" if column.still[places].all() else ""
        yield f"  {label:<30}{_number(low)}{_number(mean)}{_number(high)}  {still}".rstrip()


def _groups(names: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Every dimension; of many, those together whose names begin and end alike."""
    if len(names) <= WIDE:
        return [(name, [place]) for place, name in enumerate(names)]
    keys = [(name.split("_")[0], name.rsplit("_", 1)[-1]) for name in names]
    order = sorted(range(len(names)), key=lambda place: keys.index(keys[place]))
    found = []
    for key, run in groupby(order, key=lambda place: keys[place]):
        places = list(run)
        found.append((names[places[0]] if len(places) == 1 else f"{key[0]}_*_{key[1]} ({len(places)})", places))
    return found


def _number(value: float) -> str:
    return f"{value:>12.4g}" if np.isfinite(value) else f"{'-':>12}"


def _plain(names: Sequence[str], column: Column) -> dict[str, object]:
    values = {"min": column.low, "mean": column.mean, "max": column.high}
    told = {key: [float(one) if np.isfinite(one) else None for one in each] for key, each in values.items()}
    return {
        "names": list(names),
        **told,
        "rows": column.rows,
        "not_finite": column.lost,
        "still": column.still.tolist(),
    }
