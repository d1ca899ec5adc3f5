"""Any data set as a body of the benchmark, and which sections it has to be without."""

from __future__ import annotations

from pathlib import Path

from ego_suite.bodies import RecordedBody
from ego_suite.cases import START
from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.data.lerobot.meta import CAMERA_PREFIX
from vgen.errors import InputError, unknown_key
from vgen.models import ModelInfo
from vgen.trajectory.layouts import find_layout
from vgen.trajectory.parquet import layout_of_feature

NO_MODEL = "none"  # as a model: only what needs none
SECTIONS = ("forward", "perceptual", "counterfactual", "tracker", "policy", "inverse", "baselines", "latency")
OF_A_MODEL = ("counterfactual", "tracker", "policy", "inverse", "latency")
COLUMN = "observation.state"
SLOWEST = 0.98  # of the model's rate: a data set of fewer frames per second has not enough


def own_body(
    folder: Path, split: str, layout: str | None, camera: str | None, column: str | None, info: ModelInfo | None
) -> RecordedBody:
    """A data set as a body, at the rate and in the size of the model.

    Args:
        folder: LeRobot v3 folder.
        split: of it.
        layout: of the trajectory; None: as the data set says.
        camera: None: the only one.
        column: with the trajectory; None: `observation.state`.
        info: of the model; None: none is asked, and all is as it was recorded.

    Raises:
        InputError: there is no such data set, split, camera, column or layout, or the model does not know the layout,
            or was trained at more frames per second.
    """
    dataset, column = LeRobotDataset(folder, split), column or COLUMN
    if column not in dataset.info["features"]:
        raise unknown_key(column, dataset.info["features"], f"the columns of {folder}")
    name = find_layout(layout).name if layout else layout_of_feature(dataset.info["features"][column], column)
    if camera is None and len(dataset.cameras) != 1:
        cameras = ", ".join(key.removeprefix(CAMERA_PREFIX) for key in dataset.cameras) or "none"
        raise InputError(f"{folder} has {len(dataset.cameras)} cameras; name one with --camera: {cameras}")
    key = dataset.camera(camera or dataset.cameras[0])
    rate, size = None, None
    if info is not None:
        if info.ego is None or name not in info.layouts:
            known = ", ".join(info.layouts) or "none"
            hint = f"it knows: {known}; --model {NO_MODEL} measures the baselines alone"
            raise InputError(f"the model does not know {name}, which {folder} has; {hint}")
        rate, size = info.ego.rate(name), (info.height, info.width)
        if dataset.fps < SLOWEST * rate:
            raise InputError(f"the model was trained at {rate:g} frames/s of {name}, and {folder} has {dataset.fps:g}")
    groups = folder if _has_groups(dataset) else None
    return RecordedBody(folder.resolve().name, folder, groups, name, ("", ""), key, column, rate, size)


def left_out(body: RecordedBody, asked: set[str], named: bool, model: bool) -> dict[str, str]:
    """Why a data set, or a run without a model, has to be without some of the sections that are asked for.

    Args:
        body: of the data set.
        asked: sections.
        named: whether they were named, rather than all be asked for.
        model: whether there is one.
    """
    reasons = {}
    if body.counterfactuals is None:
        reasons["counterfactual"] = (
            f"needs groups of episodes that part at frame {START} (group and branch_frame in meta/episodes)"
        )
    spec = find_layout(body.layout)
    if len(spec.place(spec.bodies[0])[0]) != 3:
        reasons["tracker"] = f"locates a hand in space, and {body.layout} tells of hands in the picture"
    elif not named:
        reasons["tracker"] = "is trained on the data set's own frames, some minutes, where --sections names it"
    if not model:
        reasons |= dict.fromkeys(OF_A_MODEL, f"needs a model, and --model is {NO_MODEL}")
    return {name: reason for name, reason in reasons.items() if name in asked}


def _has_groups(dataset: LeRobotDataset) -> bool:
    about = dataset.extra(0) if len(dataset) else {}
    return "group" in about and about.get("branch_frame") == START
