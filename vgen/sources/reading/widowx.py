"""BridgeData V2's robot, a WidowX 250 at 5 steps/s: its columns, the sign of its gripper, and its scenes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from vgen.errors import InputError
from vgen.notices import warn_once
from vgen.sources.reading.asked import option
from vgen.sources.source import LeftOut, Reading
from vgen.trajectory.conventions import pose7_from_bridge
from vgen.trajectory.layouts import find_layout

logger = logging.getLogger(__name__)

STATE, ACTION = "observation.state", "action"
LAYOUTS = {STATE: "pose7"}
COLUMNS: Mapping[str, Sequence[str]] = {
    STATE: find_layout("pose7").names,
    ACTION: ("dx", "dy", "dz", "droll", "dpitch", "dyaw", "gripper"),
}
FPS, ROBOT = 5, "widowx250"
OPTIONS = {
    "by": "what is kept together in one split: scene (a toy kitchen; default), task (of a scene), or session (a day's)",
    "gripper": "what the gripper of the states says when it is open, 1 or 0; default: measured by that of the actions",
}
GROUPS = ("scene", "task", "session")
TURNED = "grippers of states turned round, to 1 open and 0 shut"


def conventions(latency: str) -> dict[str, str]:
    """What the columns say beyond their layout."""
    return {
        STATE: "position in the frame of the robot's base; orientation relative to a gripper that points down, about"
        " the axes of the base",
        ACTION: "command that leads from this row to the next: metres, radians about the axes of the base, and gripper"
        f" (1 open, 0 shut); NaN where there is none. {latency}",
    }


def gripper_when_open(reading: Reading, takes: Iterable[tuple[np.ndarray, np.ndarray]]) -> int:
    """What the gripper of the states says when it is open, 0 or 1.

    The makers' recorder writes 1 (`custom_gripper_controller.py` of github.com/rail-berkeley/bridge_data_robot), and
    copies with 0 are about. So it is measured: the gripper goes where the action before tells it to, of which 1 opens.

    Args:
        reading: may say it.
        takes: states [T, 7] and actions [T, 7] of some takes.

    Raises:
        InputError: the option is neither.
    """
    told = option(reading, "gripper", ("measured", "1", "0"))
    if told != "measured":
        return int(told)
    follows = opposes = 0.0
    for states, actions in takes:
        goal, reached = actions[:-1, 6], states[1:, 6]
        known = np.isfinite(goal) & np.isfinite(reached)
        if known.sum() > 1:
            together = float(((goal - goal[known].mean()) * (reached - reached[known].mean()))[known].sum())
            follows, opposes = follows + max(together, 0.0), opposes + max(-together, 0.0)
    if opposes > follows:
        warn_once(logger, "the gripper of the states opens where the actions shut it: it is turned round (gripper=0)")
        return 0
    return 1


def pose7_columns(states: np.ndarray, actions: np.ndarray, opened: int) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """The columns, float32 [T, 7], and what was mended.

    Args:
        states: [T, 7]; rows with a value that is not finite are not known.
        actions: [T, 7], of which the last may be NaN.
        opened: what the gripper of the states says when it is open.

    Raises:
        LeftOut: the states cannot be poses.
    """
    values, known = np.full(states.shape, np.nan), np.isfinite(states).all(axis=1)
    try:
        values[known] = pose7_from_bridge(states[known], np.flatnonzero(known) / FPS, opened).values
    except InputError as error:
        raise LeftOut(f"its states are no poses: {error}") from error
    columns = {STATE: values.astype(np.float32), ACTION: actions.astype(np.float32)}
    return columns, {} if opened else {TURNED: int(known.sum())}


def rows7(values: object, name: str) -> np.ndarray:
    """Rows of numbers, float64 [T, 7].

    Raises:
        LeftOut: they are of another shape, or no numbers.
    """
    try:
        rows = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise LeftOut(f"its {name} are no rows of 7 numbers: {' '.join(str(error).split())}") from error
    if rows.ndim != 2 or rows.shape[1] != 7 or not len(rows):
        raise LeftOut(f"its {name} are no rows of 7 numbers: {list(rows.shape)}")
    return rows


def scene_and_task(folders: Sequence[str]) -> tuple[str, str]:
    """Scene and task of a recording by the folders above its date, such as datacol2_toykitchen7, drawer_pnp, 07.

    Scripted recordings have no number, and their scene and task are one.
    """
    if folders and folders[-1].isdigit():
        return "/".join(folders[:-2]), "".join(folders[-2:-1])
    return "/".join(folders), folders[-1] if folders else ""
