"""What in a data set looks like another unit, sign, order or frame of reference than its layout has: a line each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from vgen.sources.check.camera import image_points, pinhole
from vgen.sources.check.motion import Motion
from vgen.sources.check.recordings import INTRINSICS, POSE, Recordings, sound_rows
from vgen.sources.check.survey import Survey
from vgen.trajectory.layouts import CAMERA, Layout, Part
from vgen.trajectory.places import known_rows
from vgen.trajectory.trajectory import Trajectory
from vgen.trajectory.units import FULL_SCALES, LENGTH_UNITS, LEVEL_TOLERANCE, WIDEST_GRIPPER

MOST = 0.7  # share of rows or episodes from which something counts as the rule
FAR = 20.0  # metres: farther from the origin is no hand
REACH = 0.1, 2.0  # metres from the origin: as far are most hands
PALMS = 0.04, 0.2  # metres from the wrist to the middle knuckle, of small and of large hands
DEPTHS = 0.05, 3.0  # metres from a camera on the head to the hands
FASTEST = 5.0  # metres per second: hands are mostly slower
ROUND = 0.02  # how far from 1 or 0 lengths and products of a rotation's columns may be
LOST = 0.2  # share of rows that are not valid, from which it is told
OUTSIDE = 0.5  # share of points beside the picture
TURNED = 1.3  # times as much motion where the hand would be if the picture were turned round
OPPOSITE = -0.5  # correlation of two grippers
PIXELS = 1.5  # a share of the picture beyond this is in pixels


def suspicions(recordings: Recordings, survey: Survey, motions: Sequence[Motion]) -> list[str]:
    """A line for everything that is not as the layout has it."""
    rows = survey.rows_of(recordings.column)
    if rows is None or not len(rows):
        return [f"{recordings.column}: no row is known"]
    spec = recordings.layout
    found = [*_missing(recordings, survey), *_still(recordings, survey)]
    for part, where in spec.slices():
        found += PARTS[part.type](part, rows[:, where])
    found += [*_grippers(recordings, survey), *_hands(spec, rows), *_speeds(spec, survey)]
    found += [*_camera(recordings, survey), *_picture(recordings, survey), *_mirrored(motions)]
    return found


def _missing(recordings: Recordings, survey: Survey) -> Iterator[str]:
    column = survey.columns[recordings.column]
    if column.lost > LOST * column.rows:
        yield f"{recordings.column}: {column.lost / column.rows:.0%} of its rows are not valid"
    for body, rows in survey.unseen.items():
        if column.lost / column.rows + LOST < rows / survey.rows:
            yield f"{body}: not told of in {rows / survey.rows:.0%} of the rows"
    rate, _ = max(survey.rates.items(), key=lambda each: each[1], default=(0.0, 0))
    if rate and abs(rate / recordings.fps - 1) > 0.02:
        yield f"timestamps are {rate:g} rows/s and meta/info.json says {recordings.fps:g}"


def _still(recordings: Recordings, survey: Survey) -> Iterator[str]:
    slices = recordings.layout.slices()
    flags = [place for part, where in slices if part.type == "flag" for place in range(where.start, where.stop)]
    for name, column in survey.columns.items():
        still = np.flatnonzero(column.still)
        if name == recordings.column:
            still = still[[survey.unseen[recordings.owners[place]] < survey.rows for place in still]]
            still = still[~np.isin(still, flags)]  # a hand may be seen throughout
        if name.startswith((POSE, INTRINSICS)) or not len(still):  # those of a second camera have its name behind a dot
            continue
        if len(still) == len(column.still):
            yield f"{name}: never changes"
        elif name == recordings.column:
            names = recordings.layout.names
            told = ", ".join(names[place] for place in still[:4]) + (", ..." if len(still) > 4 else "")
            yield f"{name}: {told} never changes" if len(still) == 1 else f"{name}: {told} never change"


def _lengths(part: Part, rows: np.ndarray) -> Iterator[str]:
    if part.columns[0].unit != "m":
        return
    typical = float(np.quantile(np.abs(rows), 0.9))
    if typical > FAR:
        units = sorted(LENGTH_UNITS.items(), key=lambda each: abs(np.log(typical / each[1])))
        meant = [units[0]] + [each for each in units[1:] if REACH[0] <= typical / each[1] <= REACH[1]]
        rules = "; if it is ".join(f"in {unit}, divide by {factor:.4g}" for unit, factor in meant)
        yield f"{_title(part)}: as far as {typical:.4g} from 0, and must be in m; if it is {rules}"


def _pose(part: Part, rows: np.ndarray) -> Iterator[str]:
    yield from _lengths(part, rows[:, :3])
    yield from _six(part, rows[:, 3:])


def _rotation(part: Part, rows: np.ndarray) -> Iterator[str]:
    if not part.euler:
        yield from _six(part, rows)
        return
    most = float(np.abs(rows).max())
    if most > 2 * np.pi:
        yield f"{_title(part)}: reach {most:.4g}, beyond a turn of 6.283 rad; if they are degrees, use numpy.radians"


def _six(part: Part, rows: np.ndarray) -> Iterator[str]:
    first, second = rows[:, :3], rows[:, 3:]
    lengths = np.abs(np.linalg.norm(rows.reshape(-1, 2, 3), axis=2) - 1).max(1)
    wrong = (lengths > ROUND) | (np.abs((first * second).sum(1)) > ROUND)
    if wrong.any():
        one = " ".join(f"{value:.3g}" for value in rows[wrong.argmax()])
        rule = "must be two columns of a rotation matrix, of length 1 and at right angles"
        yield f"{_title(part)}: {wrong.mean():.0%} of the rows are no rotation as rot6d, such as {one}; they {rule}"


def _box(part: Part, rows: np.ndarray) -> Iterator[str]:
    if float(np.abs(rows).max()) > PIXELS:
        yield f"{_title(part)}: reaches {np.abs(rows).max():.4g} and must be shares of width and height, not pixels"
        return
    outside = (rows < -ROUND) | (rows > 1 + ROUND)
    if outside.any():
        yield f"{_title(part)}: {outside.any(1).mean():.0%} of the boxes leave the picture, which goes from 0 to 1"
    turned = (rows[:, 2] < rows[:, 0]) | (rows[:, 3] < rows[:, 1])
    if turned.any():
        yield f"{_title(part)}: x1 < x0 or y1 < y0 in {turned.mean():.0%} of the boxes; x0, y0 is the upper left corner"


def _flag(part: Part, rows: np.ndarray) -> Iterator[str]:
    odd = ~np.isin(rows, (0.0, 1.0))
    if odd.any():
        yield f"{part.columns[0].name}: holds {rows[odd][0]:.4g} and must be 1 (seen) or 0 (not)"


def _level(part: Part, rows: np.ndarray) -> Iterator[str]:
    column, low, high = part.columns[0], float(rows.min()), float(rows.max())
    said = f"{column.name}: goes from {low:.3g} to {high:.3g} and must be {column.sign}"
    if low < -LEVEL_TOLERANCE and high <= 1 + LEVEL_TOLERANCE:
        yield f"{said}; of one from -1 to 1 that opens upwards, (1 + value) / 2"
    elif high > 1 + LEVEL_TOLERANCE:
        most = next((most for most in FULL_SCALES if high <= most), None)
        yield f"{said}" + (f"; divide by {most:g}" if most and low >= 0 else "")
    elif 0 < high <= WIDEST_GRIPPER:
        yield f"{said}; if it is in metres, divide by how far it opens"


PARTS = {"point": _lengths, "local": _lengths, "pose": _pose, "rotation": _rotation, "box": _box} | {
    "level": _level,
    "flag": _flag,
}


def _grippers(recordings: Recordings, survey: Survey) -> Iterator[str]:
    """A gripper mostly begins open; and what is commanded goes the same way as what is seen."""
    starts = np.stack(survey.starts)
    for part, where in recordings.layout.slices():
        if part.type != "level":
            continue
        column, values = part.columns[0], starts[:, where.start]
        middle = (survey.columns[recordings.column].low + survey.columns[recordings.column].high)[where.start] / 2
        shut = float((values < middle).mean())
        if shut > MOST and not survey.columns[recordings.column].still[where.start]:
            yield (
                f"{column.name}: {shut:.0%} of the episodes begin shut, and most grippers begin open; the sign may be "
                f"turned ({column.sign})"
            )
        yield from _against_action(recordings, survey, column.name, where.start)


def _against_action(recordings: Recordings, survey: Survey, name: str, place: int) -> Iterator[str]:
    actions, rows = survey.rows_of("action"), survey.rows_of(recordings.column)
    names = recordings.features.get("action", {}).get("names")
    if actions is None or rows is None or not isinstance(names, list) or name not in names or len(actions) != len(rows):
        return
    pair = np.stack([actions[:, names.index(name)], rows[:, place]])
    pair = pair[:, np.isfinite(pair).all(0)]
    if pair.shape[1] < 3 or (pair.std(1) < 1e-6).any():
        return
    alike = float(np.corrcoef(pair)[0, 1])
    if alike < OPPOSITE:
        told = f"{name}: goes the other way than in action (correlation {alike:.2f}); one of the signs is turned"
        said = (recordings.features["action"].get("info") or {}).get("conventions")
        yield told + (f", if this is not what is said of action: {said}" if said else "")


def _hands(spec: Layout, rows: np.ndarray) -> Iterator[str]:
    """Sizes, sides and heights of hands that are told in the picture or in the camera."""
    places: dict[str, np.ndarray] = {}
    seen = {part.owner: rows[:, where.start] > 0.5 for part, where in spec.slices() if part.type == "flag"}
    for body in spec.bodies:
        points = rows[:, spec.points(body)]
        points = points[seen.get(body, np.ones(len(rows), bool))]
        if spec.name in ("keypoints", "keypoints_mano", "adroit_hand") and len(points):
            yield from _palm(spec, body, points)
        if CAMERA in {column.frame for column in spec.columns} and len(points):
            yield from _before(body, points[:, 0, 2])
        places[body] = rows[:, spec.place(body)].mean(1)
    if {"left", "right"} <= seen.keys() and (both := seen["left"] & seen["right"]).any():
        crossed = float((places["left"][both, 0] > places["right"][both, 0]).mean())
        if crossed > MOST:
            yield f"left and right: the left hand is to the right of the other in {crossed:.0%} of the rows; swapped?"
    if seen:
        known = np.concatenate([places[body][flags, 1] for body, flags in seen.items()])
        middle = 0.0 if CAMERA in {column.frame for column in spec.columns} else 0.5
        above = float((known < middle).mean()) if len(known) else 0.0
        if above > MOST:
            told = f"hands are above the middle of the picture in {above:.0%} of the rows"
            yield f"{told}; y must go down, and may go up here"


def _palm(spec: Layout, body: str, points: np.ndarray) -> Iterator[str]:
    names = [name.removesuffix("_x") for name in (spec.names[columns[0]] for columns in spec.points(body))]
    knuckle = next(place for place, name in enumerate(names) if name.endswith("middle_1"))
    wrist = max(place for place, name in enumerate(names) if name.endswith("wrist"))
    palm = float(np.median(np.linalg.norm(points[:, knuckle] - points[:, wrist], axis=1)))
    if not PALMS[0] <= palm <= PALMS[1]:
        likely = [
            f"divide by {factor:.4g}" for factor in LENGTH_UNITS.values() if PALMS[0] <= palm / factor <= PALMS[1]
        ]
        hint = f"; {likely[0]}" if likely else ""
        yield f"{body}: from wrist to middle knuckle it is {palm:.3g} m; hands have 0.06 to 0.12{hint}"


def _before(body: str, depth: np.ndarray) -> Iterator[str]:
    behind, typical = float((depth <= 0).mean()), float(np.median(depth))
    if behind > 1 - MOST:
        yield f"{body}: behind the camera (z <= 0) in {behind:.0%} of the rows; z must go forward"
    elif not DEPTHS[0] <= typical <= DEPTHS[1]:
        yield f"{body}: mostly {typical:.3g} m before the camera; hands are {DEPTHS[0]:g} to {DEPTHS[1]:g}"


def _speeds(spec: Layout, survey: Survey) -> Iterator[str]:
    for body, jumps in survey.jumps(spec).items():
        if jumps.unit == "m" and jumps.usual > FASTEST:
            yield f"{body}: mostly as fast as {jumps.usual:.3g} m/s, and hands are slower; check unit and rate"


def _camera(recordings: Recordings, survey: Survey) -> Iterator[str]:
    pose, lens = survey.rows_of(POSE), survey.rows_of(INTRINSICS)
    if pose is not None and pose.shape[1] == 7:
        known = pose[np.isfinite(pose).all(1)]
        wrong = np.abs(np.linalg.norm(known[:, 3:], axis=1) - 1) > ROUND
        if wrong.any():
            told = f"{POSE}: {wrong.mean():.0%} of the quaternions are not of length 1"
            yield f"{told}; it must be x, y, z, qw, qx, qy, qz"
    shape = recordings.features.get(recordings.camera or "", {}).get("shape")
    if lens is not None and lens.shape[1] == 4 and isinstance(shape, list) and len(shape) == 3:
        known = lens[np.isfinite(lens).all(1)]
        off = np.abs(known[:, 2:] / np.array(shape[1::-1]) - 0.5) > 0.25
        if off.any() or (known[:, :2] <= 0).any():
            one = ", ".join(f"{value:.4g}" for value in known[0])
            told = f"{INTRINSICS}: {one} are not of frames of {shape[1]}x{shape[0]}"
            yield f"{told}; they must be fx, fy, cx, cy in pixels"


def _picture(recordings: Recordings, survey: Survey) -> Iterator[str]:
    """Whether the trajectory lies in the picture, where camera and lens are told."""
    rows, shape = survey.rows_of(recordings.column), recordings.features.get(recordings.camera or "", {}).get("shape")
    if rows is None or not isinstance(shape, list) or len(shape) != 3:
        return
    columns = {name: found for name in (POSE, INTRINSICS) if (found := survey.rows_of(name)) is not None}
    sound = sound_rows(rows, recordings.layout)
    if not sound.any() or any(len(each) != len(rows) for each in columns.values()):
        return
    trajectory = Trajectory(rows[sound], np.arange(sound.sum(), dtype=float), None, recordings.layout.name)
    columns = {name: each[sound] for name, each in columns.items()}
    pose, lens = pinhole(columns, POSE, 7), pinhole(columns, INTRINSICS, 4)
    points = image_points(trajectory, pose, lens, (shape[0], shape[1])) or {}
    for body, each in points.items():
        known = known_rows(trajectory, body)
        inside = ((each[known] >= 0) & (each[known] <= 1)).all(axis=2).any(axis=1)
        if len(inside) and 1 - inside.mean() > OUTSIDE:
            told = f"{body}: beside the picture in {1 - inside.mean():.0%} of the rows"
            yield f"{told}; check the intrinsics and the pose of the camera, and their axes"


def _mirrored(motions: Sequence[Motion]) -> Iterator[str]:
    """The picture moves where hands move."""
    totals: dict[str, float] = {}
    for motion in motions:
        for name, value in motion.turned.items():
            totals[name] = totals.get(name, 0.0) + value
    straight = totals.pop("", 0.0)
    if not totals or straight <= 0:
        return
    name, most = max(totals.items(), key=lambda each: each[1])
    if most > TURNED * straight:
        told = f"the picture moves {most / straight:.1f} times as much where hands would be with {name} turned round"
        yield f"{told}; the sign of {name} may be wrong"


def _title(part: Part) -> str:
    names = [column.name for column in part.columns]
    return names[0] if len(names) == 1 else f"{names[0]} ... {names[-1]}"
