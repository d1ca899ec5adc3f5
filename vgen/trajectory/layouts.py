"""Every trajectory layout: what each column means, and how its columns behave when a trajectory is converted.

A layout is data. To add one, write a `Layout` and put it into `LAYOUTS`, here or from your own code:

    point = tuple(Column(axis, "tip of the brush", "m", "canvas", "along the axis") for axis in "xyz")
    press = Column("press", "pressure on the canvas", "1", "none", "1 full, 0 none")
    parts = (Part("point", point, "brush"), Part("level", (press,), "brush"))
    LAYOUTS["brush"] = Layout("brush", "the tip of a painter's brush", 60.0, parts)

Conversions, resampling, mirroring, edits, normalisation, files, overlays and the table of docs/trajectories.md follow
from its parts, and tests/trajectory/ runs all of them over every entry. How a column behaves is what `Part` says of its
type; the unit, frame and sign of each column are for people, and for the checks of units.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np

from vgen.errors import InputError, unknown_key

LARGEST_ANGLE = 8 * np.pi  # four whole turns: what no angle in radians is beyond, and most that are in degrees are
PART_TYPES = ("point", "box", "rotation", "pose", "local", "level", "flag")
DELTA_MEANING = {
    "point": "difference",
    "box": "difference",
    "rotation": "rotation that turns the old into the new, in the outer frame: R' Rᵀ",
    "pose": "rigid motion seen from the old pose: T⁻¹ T'",
    "local": "as it is on arrival",
    "level": "as it is on arrival",
    "flag": "as it is on arrival",
}
"""What the `delta` form holds for each type of part."""

FINGERS = ("thumb", "index", "middle", "ring", "little")
MEDIAPIPE = ("wrist", *(f"{finger}_{joint}" for finger in FINGERS for joint in range(1, 5)))
"""The 21 keypoints of a hand in MediaPipe's order; joint 4 is the tip."""
MANO_TO_MEDIAPIPE = (0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20)
"""Entry i: where MANO (16 joints, then five tips) keeps what MediaPipe has at i."""
MANO = tuple(MEDIAPIPE[MANO_TO_MEDIAPIPE.index(place)] for place in range(21))
"""The same keypoints in MANO's order."""


@dataclass(frozen=True)
class Column:
    """One column: its name, what it means, its unit, the frame of reference, and which way is positive."""

    name: str
    meaning: str
    unit: str
    frame: str
    sign: str


@dataclass(frozen=True)
class Part:
    """Neighbouring columns that are converted together.

    Attributes:
        type: "point" (any number of points of three coordinates), "box" (x0, y0, x1, y1), "rotation" (three Euler
            angles, or six: the first two columns of the matrix), "pose" (x, y, z and the six), "local" (points in the
            frame of the owner's own pose), "level" (a quantity that is never a difference) or "flag" (0 or 1).
        columns: of this part.
        owner: whose they are: "right", "left", "hand", "camera" or a name of your own.
    """

    type: str
    columns: tuple[Column, ...]
    owner: str

    def __post_init__(self) -> None:
        assert self.type in PART_TYPES, f"{self.type} is not one of {PART_TYPES}"

    @property
    def euler(self) -> bool:
        """Whether it holds three angles: they jump at ±pi, and two triples of them name one orientation."""
        return self.type == "rotation" and len(self.columns) == 3


@dataclass(frozen=True)
class Layout:
    """What the columns of a trajectory mean.

    Attributes:
        name: by which files and models speak of it.
        about: what it is for, in one sentence.
        rate: rows per second that its sources have; the times of a trajectory are what counts.
        parts: all columns, in order.
        centre: the x about which a mirrored scene is turned over.
        network: the layout as a network reads and predicts it: orientations in Euler angles are told as the first two
            columns of the matrix, which change smoothly and in one way; all else stays.
    """

    name: str
    about: str
    rate: float
    parts: tuple[Part, ...]
    centre: float = 0.0
    network: "Layout" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        turned = any(part.euler for part in self.parts)
        parts = tuple(_matrix(part) if part.euler else part for part in self.parts)
        object.__setattr__(self, "network", replace(self, parts=parts) if turned else self)  # as it is frozen

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns, in order."""
        return tuple(column for part in self.parts for column in part.columns)

    @property
    def names(self) -> list[str]:
        """The names of all columns, in order."""
        return [column.name for column in self.columns]

    @property
    def width(self) -> int:
        """D, the number of columns."""
        return sum(len(part.columns) for part in self.parts)

    @property
    def bodies(self) -> list[str]:
        """What can be moved: every owner but the camera."""
        return [owner for owner in dict.fromkeys(part.owner for part in self.parts) if owner != "camera"]

    def slices(self) -> Iterator[tuple[Part, slice]]:
        """Every part, and where its columns are."""
        start = 0
        for part in self.parts:
            yield part, slice(start, start + len(part.columns))
            start += len(part.columns)

    def check(self, values: np.ndarray, valid: np.ndarray) -> None:
        """Refuses rows [A, D] that cannot be of this layout.

        Raises:
            InputError: another width, or in a valid row a value that is not finite or an angle that cannot be in
                radians.
        """
        if values.shape[1] != self.width:
            same = [name for name, other in LAYOUTS.items() if other.width == values.shape[1]]
            hint = (
                f"layouts of that width: {', '.join(same)}" if same else f"they start with {', '.join(self.names[:4])}"
            )
            raise InputError(f"values have {values.shape[1]} columns; layout {self.name} has {self.width}; {hint}")
        lost = np.argwhere(~np.isfinite(values) & valid[:, None])
        if lost.size:
            row, column = lost[0]
            said = f"values[{row}, {column}] ({self.names[column]})"
            raise InputError(f"{said} is {values[row, column]}; make it finite, or valid[{row}] false")
        for part, where in self.slices():
            if not part.euler:
                continue
            far = np.argwhere((np.abs(values[:, where]) > LARGEST_ANGLE) & valid[:, None])
            if far.size:
                row, column = far[0]
                said = f"values[{row}, {where.start + column}] ({part.columns[column].name})"
                rule = "more than four turns, and must be in rad; numpy.radians makes them of degrees"
                raise InputError(f"{said} is {values[row, where][column]:.6g}, {rule}")

    def seen(self, values: np.ndarray, body: str) -> np.ndarray:
        """In which rows [A, D] the flag of a body, where it has one, says that it is seen: bool [A]."""
        seen = np.ones(len(values), bool)
        for part, where in self.slices():
            if part.type == "flag" and part.owner == body:
                seen &= np.nan_to_num(values[:, where.start]) > 0.5
        return seen

    def hold_unseen(self, values: np.ndarray, valid: np.ndarray) -> None:
        """Makes a body that is not seen any more repeat the last columns that it had, in place: what a file holds
        there, such as zeros, is no place. Before it comes, its columns stay as they are.

        Args:
            values: [A, D], absolute or relative.
            valid: bool [A].
        """
        for body in self.bodies:
            seen = self.seen(values, body)
            last = np.maximum.accumulate(np.where(valid & seen, np.arange(len(values)), -1))
            gone = np.flatnonzero(valid & ~seen & (last >= 0))
            for part, where in self.slices():
                if part.owner == body and part.type != "flag":
                    values[gone, where] = values[last[gone], where]

    def points(self, body: str) -> list[list[int]]:
        """The columns of each point that moves with a body, the place of the body itself first (of a box: two corners).

        A `pose` counts with its position; points in the frame of the body's own pose move with it anyhow.
        """
        found = []
        for part, where in self.slices():
            columns = list(range(where.start, where.stop))
            if part.owner != body or part.type not in ("point", "box", "pose"):
                continue
            if part.type == "box":
                found += [columns[:2], columns[2:]]
            else:
                count = 1 if part.type == "pose" else len(columns) // 3
                found += [columns[3 * i : 3 * i + 3] for i in range(count)]
        return found

    def place(self, body: str) -> list[list[int]]:
        """The points of `points` whose mean is where the body is: the corners of a box, otherwise the first."""
        points = self.points(body)
        return points[:2] if len(points[0]) == 2 else points[:1]


WORLD = "world"
TABLE = "world (x right, y away from the robot, z up)"
CAMERA = "camera of the same frame (x right, y down, z forward)"
IMAGE = "image of the same frame, origin at its upper left corner"
ADROIT_WRIST = "x to the thumb, y out of the back of the hand, z along the fingers"
OPENING = "1 open, 0 shut"
AXES = "along the axis"


def _xyz(prefix: str, meaning: str, frame: str) -> tuple[Column, ...]:
    return tuple(Column(f"{prefix}{axis}", meaning, "m", frame, AXES) for axis in "xyz")


def _rot6d(prefix: str, meaning: str, frame: str) -> tuple[Column, ...]:
    names = [f"{prefix}r{row}{column}" for column in (1, 2) for row in (1, 2, 3)]
    about = f"{meaning}: first, then second column of the rotation matrix, body axes to the frame's"
    return tuple(Column(name, about, "1", frame, "right-handed") for name in names)


def _matrix(part: Part) -> Part:
    """A part of Euler angles as rot6d."""
    prefix, frame = part.columns[0].name.removesuffix("roll"), part.columns[0].frame
    return replace(part, columns=_rot6d(prefix, "orientation", frame))


def _flag(hand: str) -> Part:
    about = f"whether the {hand} hand is seen; where not, its other columns repeat the last that was"
    return Part("flag", (Column(f"{hand}_seen", about, "1", "none", "1 seen, 0 not"),), hand)


def _box(hand: str) -> Part:
    about = f"box of the {hand} hand: two opposite corners"
    sides = {"x0": "width", "y0": "height", "x1": "width", "y1": "height"}
    columns = [
        Column(f"{hand}_{name}", about, f"share of the {side}", IMAGE, "x right, y down")
        for name, side in sides.items()
    ]
    return Part("box", tuple(columns), hand)


def _keypoints(hand: str, order: tuple[str, ...], frame: str, convention: str) -> Part:
    about = f"keypoints of the {hand} hand, {convention} order"
    return Part("point", tuple(c for joint in order for c in _xyz(f"{hand}_{joint}_", about, frame)), hand)


def _pose(owner: str, what: str) -> Part:
    columns = _xyz(f"{owner}_", f"position of {what}", WORLD) + _rot6d(f"{owner}_", f"orientation of {what}", WORLD)
    return Part("pose", columns, owner)


def _tips(hand: str) -> Part:
    frame = f"{hand} wrist of the same row (z to the middle knuckle, y out of the palm)"
    about = f"fingertips of the {hand} hand, thumb to little finger"
    return Part("local", tuple(c for finger in FINGERS for c in _xyz(f"{hand}_{finger}_4_", about, frame)), hand)


def _euler(frame: str) -> Part:
    about = "orientation: turn by roll about x, then pitch about y, then yaw about z, axes that stay (scipy's 'xyz')"
    names = ("roll", "pitch", "yaw")
    return Part("rotation", tuple(Column(n, about, "rad", frame, "right-handed") for n in names), "hand")


def _gripper() -> Part:
    return Part("level", (Column("gripper", "opening of the gripper", "1", "none", OPENING),), "hand")


def _both(order: tuple[str, ...], convention: str) -> tuple[Part, ...]:
    points = [_keypoints(hand, order, CAMERA, convention) for hand in ("left", "right")]
    return (*points, _flag("left"), _flag("right"))


LAYOUTS = {
    spec.name: spec
    for spec in (
        Layout(
            "hand_boxes",
            "boxes of both hands in the image (Ego4D)",
            30.0,
            (_box("left"), _box("right"), _flag("left"), _flag("right")),
            centre=0.5,
        ),
        Layout(
            "pose7",
            "pose of an end effector (Bridge, RLBench)",
            5.0,
            (
                Part("point", _xyz("", "position of the end effector", "robot base"), "hand"),
                _euler("robot base"),
                _gripper(),
            ),
        ),
        Layout(
            "position4",
            "position of an end effector whose orientation is fixed (Meta-World's `observation.state`)",
            80.0,
            (Part("point", _xyz("", "position of the hand", TABLE), "hand"), _gripper()),
        ),
        Layout("keypoints", "21 keypoints of both hands (MediaPipe)", 30.0, _both(MEDIAPIPE, "MediaPipe")),
        Layout("keypoints_mano", "21 keypoints of both hands (MANO with tips)", 30.0, _both(MANO, "MANO")),
        Layout(
            "hand_pose57",
            "camera, wrists and fingertips (`hand_pose` of Cosmos 3, which holds it in delta form)",
            15.0,
            (
                _pose("camera", "the camera"),
                _pose("right", "the right wrist"),
                _tips("right"),
                _pose("left", "the left wrist"),
                _tips("left"),
            ),
        ),
        Layout(
            "adroit_hand",
            "wrist and 21 keypoints of one right hand (Adroit)",
            50.0,
            (
                Part("point", _xyz("wrist_", "position of the right wrist", WORLD), "right"),
                Part("rotation", _rot6d("wrist_", f"orientation of the right wrist ({ADROIT_WRIST})", WORLD), "right"),
                _keypoints("right", MEDIAPIPE, WORLD, "MediaPipe"),
            ),
        ),
    )
}
"""All layouts by name."""


def find_layout(name: str) -> Layout:
    """The layout of that name.

    Raises:
        InputError: there is none; the message names the nearest.
    """
    if name not in LAYOUTS:
        raise unknown_key(name, LAYOUTS, "the trajectory layouts")
    return LAYOUTS[name]


def table() -> str:
    """All layouts as one Markdown table: a row for each run of columns that differ in their names alone."""
    head = ("layout", "columns", "names", "meaning", "unit", "frame of reference", "sign", "in `delta` form")
    rows = [head, ("---",) * len(head)]
    for spec in LAYOUTS.values():
        title = f"**`{spec.name}`**, width {spec.width}, {spec.rate:g} rows/s: {spec.about}"
        start = 0
        for part in spec.parts:
            for about, names in _runs(part):
                stop = start + len(names) - 1
                span = f"{start}" if start == stop else f"{start}-{stop}"
                rows.append((title, span, _names(names), *about, DELTA_MEANING[part.type]))
                title, start = "", stop + 1
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def _runs(part: Part) -> list[tuple[tuple[str, str, str, str], list[str]]]:
    """Meaning, unit, frame and sign, and the names of the neighbouring columns that share them."""
    if part.type == "box":  # the units of x and y alternate; the corners belong on one line
        about = (part.columns[0].meaning, "share of width, height", IMAGE, "x right, y down")
        return [(about, [column.name for column in part.columns])]
    runs = groupby(part.columns, lambda column: (column.meaning, column.unit, column.frame, column.sign))
    return [(about, [column.name for column in run]) for about, run in runs]


def _names(names: list[str]) -> str:
    """All names, or the first four and the last."""
    shown = names if len(names) <= 6 else [*names[:4], "…", names[-1]]
    return ", ".join(name if name == "…" else f"`{name}`" for name in shown)
