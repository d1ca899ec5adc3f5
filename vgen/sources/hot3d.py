"""HOT3D-Clips (Banerjee et al. 2025, arXiv 2411.19167): clips of Aria and Quest 3 in tar files, with UmeTrack hands."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from vgen.errors import InputError, unknown_key
from vgen.sources.reading.frames import ImageFrames
from vgen.sources.reading.hand_columns import (
    COLUMNS,
    CONVENTIONS,
    HANDS,
    LAYOUTS,
    Turned,
    box_columns,
    hand_columns,
    into_camera,
    rigid,
    seen_counts,
)
from vgen.sources.reading.umetrack import FINGERS, JOINTS, UmeTrackHand
from vgen.sources.source import Episode, Frames, LeftOut, Reading, Source, Take
from vgen.trajectory.layouts import find_layout

BOXES = "observation.boxes"
SHAPES = "__hand_shapes.json__"
FPS = 30
UPRIGHT = np.diag([0.0, 0.0, 1.0, 1.0])
UPRIGHT[0, 1], UPRIGHT[1, 0] = -1, 1
"""Points in the camera as it is recorded, on its side, to the camera of the frames as they are written."""


class Hot3DSource(Source):
    """Takes are clip-*.tar, in folders such as train_aria and train_quest3. Cameras are streams: 214-1 is Aria's in
    colour, 1201-1 and 1201-2 are the grey ones of both devices. Keypoints and boxes are those of the first camera."""

    conventions: Mapping[str, str] = {
        **CONVENTIONS,
        BOXES: "boxes of the whole hands, hidden parts too, in the first camera; they may reach out of the image",
    }

    def __init__(self, reading: Reading) -> None:
        self._folder = reading.folder
        self._files = sorted(reading.folder.rglob("clip-*.tar"))
        if not self._files:
            raise InputError(f"{reading.folder} has no clip-*.tar; give the folder of HOT3D-Clips, such as train_aria")
        streams = self._streams()
        for camera in reading.cameras:
            if camera not in streams:
                raise unknown_key(camera, streams, f"the streams of {self._files[0].name}")
        self.cameras: Sequence[str] = reading.cameras or streams
        self.columns: Mapping[str, Sequence[str]] = {**COLUMNS, BOXES: find_layout("hand_boxes").names}
        self.layouts = {**LAYOUTS, BOXES: "hand_boxes"}
        self.fps, self.robot_type = FPS, "human hands"

    def _streams(self) -> tuple[str, ...]:
        """The cameras of the first clip that can be read: first those of all of them, in colour before grey."""
        for path in self._files:
            try:
                with _opened(path) as clip:
                    return tuple(sorted(clip.json(0, "cameras"), key=lambda stream: int(stream.split("-")[0])))
            except LeftOut:
                continue
        raise InputError(f"none of the {len(self._files)} clips of {self._folder} can be read; are they whole?")

    def takes(self) -> Sequence[Take]:
        """A take for each clip. All of a participant are a group; every file is opened, for the participant."""
        return [Take(self._name(path), _participant(path), str(path)) for path in self._files]

    def _name(self, path: Path) -> str:
        return path.relative_to(self._folder).with_suffix("").as_posix()

    def read(self, take: Take) -> Episode:
        """Poses of the clip; frames are turned upright, and what is told in the camera with them."""
        with _opened(Path(str(take.place))) as clip:
            clip.check()
            cameras = [clip.json(row, "cameras") for row in range(clip.rows)]
            hands = [clip.json(row, "hands") for row in range(clip.rows)]
            shapes, info, things = clip.shapes(), clip.info(0), clip.things()
            frames: dict[str, Frames] = {}
            for camera in self.cameras:
                if camera not in cameras[0]:
                    raise LeftOut(f"it has no stream {camera}: it has {', '.join(cameras[0])}")
                frames[camera] = Turned(ImageFrames(clip.images(camera)))
            columns = _columns([row[self.cameras[0]] for row in cameras], hands, shapes, self.cameras[0])
        calibrations = {camera: cameras[0][camera]["calibration"] for camera in self.cameras}
        models = {name: [it["projection_model_type"], *it["projection_params"]] for name, it in calibrations.items()}
        extra = {
            "participant": str(info.get("participant_id", "")),
            "sequence": str(info.get("sequence_id", "")),
            "objects": ", ".join(things),
            "camera_models": json.dumps(models),
        }
        mended = {"frames turned upright": clip.rows * len(self.cameras), **seen_counts(columns)}
        return Episode(columns, frames, "", extra, mended)


class _Clip:
    """A clip's tar file: where each of its files lies, so that frames are read when they are wanted.

    Attributes:
        rows: T, of its frames.
    """

    def __init__(self, path: Path, archive: tarfile.TarFile) -> None:
        self._path, self._archive = path, archive
        self._places = {entry.name: (entry.offset_data, entry.size) for entry in archive.getmembers() if entry.isfile()}
        with path.open("rb") as file:
            file.seek(archive.offset)
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # tarfile takes what is left for the whole
                raise LeftOut(f"its tar file is cut off: it has no end after {len(self._places)} files")
        numbers = [int(name.split(".")[0]) for name in self._places if name.endswith(".info.json")]
        self.rows = max(numbers, default=-1) + 1

    def bytes_of(self, name: str) -> bytes:
        if name not in self._places:
            raise LeftOut(f"a file is missing in it: {name}")
        start, size = self._places[name]
        with self._path.open("rb") as file:
            file.seek(start)
            return file.read(size)

    def json(self, row: int, kind: str) -> Any:
        return json.loads(self.bytes_of(f"{row:06d}.{kind}.json"))

    def info(self, row: int) -> dict[str, Any]:
        return dict(self.json(row, "info"))

    def images(self, camera: str) -> Sequence[bytes]:
        return _Members(self, [f"{row:06d}.image_{camera}.jpg" for row in range(self.rows)])

    def shapes(self) -> UmeTrackHand:
        return UmeTrackHand.from_json(json.loads(self.bytes_of(SHAPES))["umetrack"])

    def things(self) -> list[str]:
        """The names of the objects in it, where it tells them."""
        name = f"{0:06d}.objects.json"
        found = json.loads(self.bytes_of(name)) if name in self._places else {}
        return sorted({str(one.get("object_name") or key) for key, many in found.items() for one in many})

    def check(self) -> None:
        """Refuses a clip without hands, and one whose frames do not follow each other at the rate of all clips."""
        if not self.rows:
            raise LeftOut("it has no frame")
        if f"{0:06d}.hands.json" not in self._places or SHAPES not in self._places:
            raise LeftOut("it has no poses of hands, as the makers keep those of their test clips")
        times = [self.info(row).get("image_timestamps_ns") or {} for row in range(self.rows)]
        for stream in times[0]:
            late = np.array([row[stream] for row in times], dtype=np.float64) * 1e-9
            late -= late[0] + np.arange(self.rows) / FPS
            worst = int(np.abs(late).argmax())
            if abs(late[worst]) > 0.5 / FPS:
                raise LeftOut(f"its clock drifts: frame {worst} of {self.rows} is {late[worst]:+.3f} s off in {stream}")


class _Members(Sequence[bytes]):
    """Files of a clip, read one by one."""

    def __init__(self, clip: _Clip, names: Sequence[str]) -> None:
        self._clip, self._names = clip, names

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, number: Any) -> Any:
        return self._clip.bytes_of(self._names[number])


@contextmanager
def _opened(path: Path) -> Iterator[_Clip]:
    """The clip; whatever is wrong with it leaves the take out."""
    try:
        with tarfile.open(path, "r:") as archive:
            yield _Clip(path, archive)
    except (OSError, tarfile.TarError) as error:
        raise LeftOut(f"its tar file cannot be read: {path.name}, {' '.join(str(error).split())}") from error
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise LeftOut(f"its annotations are not those of HOT3D-Clips: {type(error).__name__} {reason}") from error


def _participant(path: Path) -> str:
    """The participant of a clip; of one that cannot be read, its own name, as it is left out anyhow."""
    try:
        with _opened(path) as clip:
            return str(clip.info(0).get("participant_id") or path.stem)
    except LeftOut:
        return path.stem


def _columns(
    cameras: Sequence[Mapping[str, Any]], hands: Sequence[Mapping[str, Any]], shape: UmeTrackHand, stream: str
) -> dict[str, np.ndarray]:
    poses = np.stack([_pose(camera["T_world_from_camera"]) for camera in cameras]) @ UPRIGHT.T
    poses[~rigid(poses)] = np.nan
    points = np.stack([into_camera(_points(hands, hand, shape), poses) for hand in HANDS])
    intrinsics = np.array([_upright_intrinsics(camera["calibration"]) for camera in cameras])
    columns = hand_columns(points, np.isfinite(points).all(axis=(2, 3)), poses, intrinsics)
    model = cameras[0]["calibration"]
    boxes = _boxes(hands, stream, float(model["image_width"]), float(model["image_height"]))
    columns[BOXES] = box_columns(boxes)
    return columns


def _points(hands: Sequence[Mapping[str, Any]], hand: str, shape: UmeTrackHand) -> np.ndarray:
    """Float64 [T, 21, 3] in the world, NaN where the hand is not told."""
    points = np.full((len(hands), 21, 3), np.nan)
    told = [(row, found[hand]["umetrack_pose"]) for row, found in enumerate(hands) if _told(found, hand)]
    if told:
        angles = np.array([pose["joint_angles"][: FINGERS * JOINTS] for _, pose in told], dtype=np.float64)
        wrists = np.stack([_pose(pose.get("T_world_from_wrist", pose.get("wrist_xform"))) for _, pose in told])
        whole = rigid(wrists) & np.isfinite(angles).all(axis=1)
        rows = np.array([row for row, _ in told])[whole]
        points[rows] = shape.keypoints(angles[whole], wrists[whole], hand)
    return points


def _told(hands: Mapping[str, Any], hand: str) -> bool:
    return bool((hands.get(hand) or {}).get("umetrack_pose"))


def _pose(told: Any) -> np.ndarray:
    """A rigid motion [4, 4] that is told as a matrix, or as a quaternion (w, x, y, z) and a translation."""
    if not isinstance(told, Mapping):
        return np.asarray(told, dtype=np.float64).reshape(4, 4)
    pose = np.eye(4)
    w, x, y, z = told["quaternion_wxyz"]
    pose[:3, :3] = Rotation.from_quat([x, y, z, w]).as_matrix()
    pose[:3, 3] = told["translation_xyz"]
    return pose


def _upright_intrinsics(model: Mapping[str, Any]) -> list[float]:
    """fx, fy, cx, cy of the frames as they are written, which are turned to the right by a quarter."""
    values = [float(value) for value in model["projection_params"]]
    fx, fy, cx, cy = [values[0], *values[:3]] if len(values) == 15 else values[:4]
    return [fy, fx, float(model["image_height"]) - 1 - cy, cx]


def _boxes(hands: Sequence[Mapping[str, Any]], stream: str, width: float, height: float) -> np.ndarray:
    """Float64 [2, T, 4], x0, y0, x1, y1 in shares of the frames as they are written; NaN where the hand has no box."""
    boxes = np.full((2, len(hands), 4), np.nan)
    for row, found in enumerate(hands):
        for number, hand in enumerate(HANDS):
            box = ((found.get(hand) or {}).get("boxes_amodal") or {}).get(stream)
            if box:
                x0, y0, x1, y1 = (float(value) for value in box)
                boxes[number, row] = [1 - y1 / height, x0 / width, 1 - y0 / height, x1 / width]
    return boxes
