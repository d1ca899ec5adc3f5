"""Demonstrations as robosuite records them: HDF5 files of simulator states, actions and the model that they are of.

The file: group `data`, with attributes about all of it; in it a group for each demonstration, `demo_1` and so on, with
the data sets `states` [T, 1 + nq + nv] (time, positions and velocities) and, mostly, `actions` [T, A], and the
attribute `model_file`: MuJoCo's XML, or the name of a file that lies in `models/` beside the HDF5 file. Row k of
`actions` leads from row k of `states` to row k + 1. Read: `collect_human_demonstrations.py` and
`playback_demonstrations_from_hdf5.py` of robosuite 1.4.0, `scripts/create_dataset.py` of LIBERO.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vgen.checks import show, whole
from vgen.errors import InputError
from vgen.sources.source import Episode, LeftOut, Reading, Source, Take
from vgen.trajectory.layouts import LAYOUTS

if TYPE_CHECKING:  # they need packages that are not everyone's
    from vgen.sources.reading.replay import Arm, Scene

FPS = 20  # robosuite's control rate in every recording since 1.0
SIZE = 128  # of LIBERO's own pictures
RATE_SLACK = 0.01  # by which a step between two states may differ from 1 / fps, as a share
EYE = "eye_in_hand"  # the camera of whichever hand a take is of
ASSETS = ("assets", "models/assets", "libero/assets")  # where packages keep meshes and textures
UNSEEN = "unseen"  # the split of what is for evaluation alone
ACTION_NAMES = ("dx", "dy", "dz", "drx", "dry", "drz", "gripper")
"""Of an action of robosuite's OSC_POSE controller: -1 to 1 each, and of the gripper -1 to open and 1 to shut."""

STATE_SAID = "the point between the fingers and the turn of the hand, in the frame of the base of its arm"
ACTION_SAID = "the makers': leads from this row to the next; of the gripper -1 opens and 1 shuts"
POSE_SAID = "camera to the frame of the base of the arm; metres, quaternion with w first; x right, y down, z ahead"
LENS_SAID = "pixels of the frames as they are written, the middle of the first one at 0, 0"


@dataclass(frozen=True)
class Place:
    """Where a take lies: a file, the name of its demonstration in it, and which of its model's arms it is of."""

    file: Path
    demo: str
    arm: int = 0


class Demonstrations(Source):
    """Recorded demonstrations, replayed and drawn. Columns and cameras are those of one arm.

    Columns: `observation.state` (layout `pose7`: the point between the fingers and the turn of the hand in the frame of
    the robot's base, as robosuite's `eef_pos` and `eef_quat` are in the world's), `action` (the makers' own), and of
    every camera its pose in the same frame (position, and quaternion with w first) and its intrinsics: of the first
    camera `observation.camera_pose` and `observation.intrinsics`, of another one with its name behind a dot.
    """

    options: ClassVar[Mapping[str, str]] = {
        "size": f"height and width of the frames as they are drawn, in pixels; default: {SIZE}",
        "assets": "folder of meshes and textures that lie neither above the HDF5 files nor in a package; several with "
        f"{os.pathsep!r} between them",
    }
    packages: ClassVar[Sequence[str]]
    """Python packages that have a folder `assets` with meshes and textures."""

    fps = FPS

    def __init__(self, reading: Reading) -> None:
        from vgen.sources.reading.replay import INTRINSICS_NAMES, POSE_NAMES

        self.folder = Path(reading.folder)
        self.files = sorted(self.folder.rglob("*.hdf5"))
        if not self.files:
            raise InputError(f"{show(self.folder)} has no *.hdf5 file; give the folder that holds the demonstrations")
        if reading.layout not in (None, "pose7"):
            raise InputError(f"layout {reading.layout!r} is not what demonstrations are converted to; nearest: 'pose7'")
        self.cameras = tuple(reading.cameras) or ("agentview", EYE)
        side = whole("size", _number(reading.more.get("size", str(SIZE))), 16, 4096)
        self._size = side, side
        self._assets = [Path(given) for given in reading.more.get("assets", "").split(os.pathsep) if given]
        self._packaged = self._package_assets()
        self._scenes: dict[tuple[Path, str], Scene] = {}
        self.layouts = {"observation.state": "pose7"}
        self.columns = {"observation.state": LAYOUTS["pose7"].names, "action": ACTION_NAMES}
        self.conventions = {"observation.state": STATE_SAID, "action": ACTION_SAID}
        for camera in self.cameras:
            self.conventions[_of_camera("camera_pose", camera, self.cameras)] = POSE_SAID
            self.conventions[_of_camera("intrinsics", camera, self.cameras)] = LENS_SAID
            self.columns[_of_camera("camera_pose", camera, self.cameras)] = POSE_NAMES
            self.columns[_of_camera("intrinsics", camera, self.cameras)] = INTRINSICS_NAMES

    @abstractmethod
    def _sentence(self, attributes: Mapping[str, Any]) -> str:
        """What is done in the demonstrations of a file, from the attributes of its group `data`."""

    @abstractmethod
    def _task(self, file: Path, attributes: Mapping[str, Any]) -> tuple[str, bool]:
        """A name of what is done, and whether it is for evaluation alone."""

    @abstractmethod
    def _group(self, file: Path, attributes: Mapping[str, Any]) -> str:
        """What the demonstrations of a file share, so that they are in one split."""

    def takes(self) -> Sequence[Take]:
        """A take for every arm of every demonstration, by the place of its file in the folder.

        Raises:
            InputError: there is none.
        """
        takes = [take for file in self.files for take in self._takes(file)]
        if not takes:
            raise InputError(f"{show(self.folder)} has no demonstration in its {len(self.files)} *.hdf5 files")
        return takes

    def _takes(self, file: Path) -> list[Take]:
        """Those of a file; of one that cannot be read a single take, which is left out when it is read."""
        path = file.relative_to(self.folder).with_suffix("").as_posix()
        try:
            with _opened(file) as data:
                unseen = self._task(file, data.attrs)[1]
                group, split = self._group(file, data.attrs), UNSEEN if unseen else None
                arms = {demo: _arms(data[demo]) for demo in sorted(data)}
        except LeftOut:
            return [Take(path, path, Place(file, ""))]
        return [
            Take(f"{path}/{demo}" + (f"/arm{arm}" if count > 1 else ""), group, Place(file, demo, arm), split)
            for demo, count in arms.items()
            for arm in range(count)
        ]

    def read(self, take: Take) -> Episode:
        """A demonstration as one of its arms did it; frames are drawn when they are read.

        Raises:
            LeftOut: its file, model or states are damaged, or it lacks the arm or a camera.
        """
        from vgen.sources.reading.replay import ReplayedFrames

        place = take.place
        assert isinstance(place, Place), "takes are those of takes()"
        with _opened(place.file) as data:
            task, sentence = self._task(place.file, data.attrs)[0], self._sentence(data.attrs)
            group = data[place.demo]
            if "states" not in group:
                raise LeftOut("it has no states")
            states = group["states"][()].astype(np.float64)
            actions = group["actions"][()] if "actions" in group else None
            model = _model(place.file, group)
        scene = self._scene(place, model)
        scene.check(states)
        if len(states) < 2:
            raise LeftOut(f"it is too short: {len(states)} states")
        arm = self._arm(scene, place.arm)
        rows, exact = rows_at(states[:, 0], self.fps)
        action, mended = _action(actions, rows, exact, place.arm, len(scene.arms))
        if not scene.fingers(arm):
            mended["gripper without fingers told as shut"] = len(rows)
        states = states[rows]
        columns = {"observation.state": scene.pose7(states, arm), "action": action}
        frames = {}
        for camera in self.cameras:
            seen = arm.camera if camera == EYE else camera
            if not scene.has_camera(seen):
                raise LeftOut(f"it has no such camera: {camera}")
            columns[_of_camera("camera_pose", camera, self.cameras)] = scene.camera_pose(states, seen, arm)
            intrinsics = np.tile(scene.intrinsics(seen), (len(rows), 1))
            columns[_of_camera("intrinsics", camera, self.cameras)] = intrinsics
            frames[camera] = ReplayedFrames(scene, states, seen)
        columns = {name: values.astype(np.float32) for name, values in columns.items()}
        about = {"source": take.name, "task_name": task, "arm": place.arm}
        return Episode(columns, frames, sentence, about, mended)

    def _arm(self, scene: Scene, number: int) -> Arm:
        if number >= len(scene.arms):
            raise LeftOut(f"its model has no such arm: {number} of {len(scene.arms)}")
        return scene.arms[number]

    def _scene(self, place: Place, model: str) -> Scene:
        """The scene of a demonstration; one is kept, with its drawing context, for the takes of its other arms."""
        from vgen.sources.reading.replay import Scene

        key = place.file, place.demo
        if key not in self._scenes:
            for scene in self._scenes.values():
                scene.close()
            self._scenes = {key: Scene(model, self._asset_folders(place.file), self._size)}
        return self._scenes[key]

    def _asset_folders(self, file: Path) -> list[Path]:
        above = [parent for parent in file.resolve().parents if parent.name == "assets"]
        return [*self._assets, *above, *self._packaged]

    def _package_assets(self) -> list[Path]:
        specs = [find_spec(package) for package in self.packages]
        roots = [Path(root) for spec in specs if spec for root in spec.submodule_search_locations or ()]
        return [folder for root in roots for folder in (root / place for place in ASSETS) if folder.is_dir()]


def rows_at(times: np.ndarray, fps: int) -> tuple[np.ndarray, bool]:
    """Which rows of a recording stand for frames at a steady rate.

    Args:
        times: [T] of the simulator, in seconds, which may stand still and drift.
        fps: of the frames.

    Returns:
        For every frame from the first time to the last the row that is nearest in time; and whether these are simply
        all rows, each a frame after the one before.

    Raises:
        LeftOut: the times go back, or all are one.
    """
    steps = np.diff(times)
    if (steps < 0).any() or not steps.any():
        raise LeftOut(f"its clock does not go on: row {int(np.argmin(steps)) + 1} of {len(times)}")
    if (np.abs(steps * fps - 1) <= RATE_SLACK).all():
        return np.arange(len(times)), True
    wanted = times[0] + np.arange(int((times[-1] - times[0]) * fps + 1e-6) + 1) / fps
    after = np.clip(np.searchsorted(times, wanted), 1, len(times) - 1)
    return np.where(wanted - times[after - 1] < times[after] - wanted, after - 1, after), False


def _action(
    actions: np.ndarray | None, rows: np.ndarray, exact: bool, arm: int, arms: int
) -> tuple[np.ndarray, dict[str, int]]:
    """An arm's actions [T, 7], NaN where they are not of these rows; and what was mended."""
    unknown = np.full((len(rows), len(ACTION_NAMES)), np.nan)
    if not exact:
        return unknown, {"rows of another rate: the nearest taken, actions unknown": len(rows)}
    if actions is None:
        return unknown, {"actions unknown": len(rows)}
    if len(actions) != len(rows) or actions.ndim != 2 or actions.shape[1] % arms:
        raise LeftOut(f"its actions don't fit: {list(actions.shape)} for {len(rows)} states of {arms} arms")
    own = actions.reshape(len(rows), arms, -1)[:, arm]
    known = min(own.shape[1], len(ACTION_NAMES))
    if own.shape[1] not in (len(ACTION_NAMES), len(ACTION_NAMES) - 1):
        return unknown, {"actions of another controller left out": len(rows)}
    return np.concatenate([own, np.zeros((len(rows), len(ACTION_NAMES) - known))], axis=1), {}


def _arms(group: Any) -> int:
    """How many arms act in a demonstration, without its model being built."""
    width = group["actions"].shape[-1] if "actions" in group else len(ACTION_NAMES)
    return max(1, int(width) // len(ACTION_NAMES))


def _model(file: Path, group: Any) -> str:
    model = str(group.attrs.get("model_file", ""))
    if model.lstrip().startswith("<"):
        return model
    beside = file.parent / "models" / Path(model).name
    if not model or not beside.is_file():
        raise LeftOut(f"its model is missing: {model or 'no model_file'}")
    return beside.read_text(encoding="utf-8", errors="replace")


def _of_camera(what: str, camera: str, cameras: Sequence[str]) -> str:
    return f"observation.{what}" + ("" if camera == cameras[0] else f".{camera}")


def _number(text: str) -> object:
    return int(text) if text.isdigit() else text


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """The group `data` of a file."""
    import h5py

    try:
        with h5py.File(file, "r") as opened:
            if "data" not in opened:
                raise LeftOut("its file is no file of demonstrations: it has no group 'data'")
            yield opened["data"]
    except (OSError, KeyError, RuntimeError) as error:  # h5py's, by where the damage is
        raise LeftOut(f"its file is damaged: {error}") from error
