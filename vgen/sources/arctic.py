"""ARCTIC (Fan et al. 2023, arXiv 2204.13662): MANO hands with objects, seen by a camera on the wearer's head."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from vgen.errors import InputError, unknown_key
from vgen.sources.reading.frames import ImageFrames
from vgen.sources.reading.hand_columns import (
    COLUMNS,
    CONVENTIONS,
    HANDS,
    LAYOUTS,
    hand_columns,
    into_camera,
    rigid,
    seen_counts,
)
from vgen.sources.reading.mano import ManoHand, read_hands
from vgen.sources.reading.unpickle import read_objects
from vgen.sources.source import Episode, LeftOut, Reading, Source, Take
from vgen.trajectory.rotations import inverse

CAMERA_NAME = "0"
FPS = 30
EDGE = 10  # images at either end that the makers leave out, as they may be black
SPLITS = {"s05": "val", "s03": "test"}  # of the makers' egocentric protocol, p2; all others are for training
THINGS = {"capsulemachine": "capsule machine", "espressomachine": "espresso machine", "waffleiron": "waffle iron"}
MOTION = {"rot": 3, "pose": 45, "trans": 3}  # the numbers of each row
NESTS = ("", "data", "arctic_data/data", "data/arctic_data/data", "unpack/arctic_data/data")


class ArcticSource(Source):
    """Takes are raw_seqs/sNN/TAKE.mano.npy with the images of view 0, the egocentric one."""

    options: ClassVar[Mapping[str, str]] = {
        "mano": "the folder with MANO_LEFT.pkl and MANO_RIGHT.pkl, without which the keypoints cannot be known",
    }
    conventions: Mapping[str, str] = {
        **CONVENTIONS,
        "observation.intrinsics": "pixels of the frames as they are written; extra: how they are distorted",
    }

    def __init__(self, reading: Reading) -> None:
        self._data = _data_folder(reading.folder)
        for camera in reading.cameras:
            if camera != CAMERA_NAME:
                raise unknown_key(camera, (CAMERA_NAME,), "the egocentric views of ARCTIC")
        if not reading.more.get("mano"):
            told = "MANO_LEFT.pkl and MANO_RIGHT.pkl, from mano.is.tue.mpg.de"
            raise InputError(f"ARCTIC tells its hands as angles of MANO, whose model it needs: mano=FOLDER with {told}")
        self._hands = read_hands(Path(reading.more["mano"]))
        self._misc = _json(self._data / "meta" / "misc.json")
        images = [self._data / name for name in ("cropped_images", "croppped_images", "images")]
        self._images = next((folder for folder in images if folder.is_dir()), None)
        if self._images is None:
            raise InputError(f"{self._data} has neither cropped_images nor images; download one of them")
        self.columns: Mapping[str, Sequence[str]] = COLUMNS
        self.layouts, self.cameras, self.fps, self.robot_type = LAYOUTS, (CAMERA_NAME,), FPS, "human hands"

    def takes(self) -> Sequence[Take]:
        """A take for each sequence, even if its images are missing. All of a participant are a group."""
        protocol = self._data / "splits_json" / "protocol_p2.json"
        told = _json(protocol) if protocol.is_file() else {}
        splits = {name: split for split, names in told.items() for name in names}
        takes = []
        for path in sorted((self._data / "raw_seqs").glob("s*/*.mano.npy")):
            person, sequence = path.parent.name, path.name.removesuffix(".mano.npy")
            name = f"{person}/{sequence}"
            takes.append(Take(name, person, name, splits.get(name, SPLITS.get(person, "train"))))
        if not takes:
            raise InputError(f"{self._data / 'raw_seqs'} has no sNN/TAKE.mano.npy; download ARCTIC's raw_seqs")
        return takes

    def read(self, take: Take) -> Episode:
        """Poses and images of a sequence, without the images at its ends that may be black."""
        name = str(take.place)
        person, sequence = name.split("/")
        about = self._misc.get(person) or {}
        if "ioi_offset" not in about:
            raise LeftOut(f"meta/misc.json does not tell the first image of a participant: {person}")
        sizes = about.get("image_size") or [[2800, 2000]]
        try:
            camera, intrinsics, distortion = _camera(self._part(name, "egocam.dist"))
            world = _world(self._part(name, "mano"), self._hands, len(camera))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            reason = f"{type(error).__name__} {' '.join(str(error).split())}"
            raise LeftOut(f"its poses are not those of ARCTIC: {reason}") from error
        rows = _rows(len(camera), int(about["ioi_offset"]))
        assert self._images is not None
        folder = self._images / person / sequence / CAMERA_NAME
        images = [folder / f"{row + int(about['ioi_offset']):05d}.jpg" for row in rows]
        scale = np.array(_size(images[0])) / np.asarray(sizes[0], dtype=np.float64)
        intrinsics = np.concatenate([intrinsics[:2] * scale, (intrinsics[2:] + 0.5) * scale - 0.5])
        camera[~rigid(camera)] = np.nan
        camera, points = camera[rows], into_camera(world, camera)[:, rows]
        columns = hand_columns(points, np.isfinite(points).all(axis=(2, 3)), camera, intrinsics)
        thing, action, *_ = [*sequence.split("_"), ""]
        thing = THINGS.get(thing, thing)
        extra = {"participant": person, "object": thing, "distortion": json.dumps(distortion)}
        mended = {"rows at either end whose images may be black, left out": len(world[0]) - len(rows)}
        frames = {CAMERA_NAME: ImageFrames(images)}
        return Episode(columns, frames, f"{action} the {thing}".strip(), extra, {**mended, **seen_counts(columns)})

    def _part(self, name: str, what: str) -> dict[str, Any]:
        found = read_objects(self._data / "raw_seqs" / f"{name}.{what}.npy")
        if not isinstance(found, dict):
            raise ValueError(f"{what} holds no dictionary")
        return found


def _data_folder(folder: Path) -> Path:
    for nest in NESTS:
        if (folder / nest / "raw_seqs").is_dir():
            return folder / nest
    raise InputError(f"{folder} has no raw_seqs, nor has its arctic_data/data; give the folder of ARCTIC's data")


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing; download ARCTIC's meta") from error
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}); download it anew") from error


def _rows(count: int, offset: int) -> range:
    """The rows whose images are used: image i is of row i - offset, and the makers use images 10 to T - 11."""
    rows = range(max(EDGE - offset, 0), min(count - EDGE - offset, count))
    if len(rows) < 2:
        raise LeftOut(f"it is too short without the images at its ends: {count} rows")
    return rows


def _camera(told: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Camera to world [T, 4, 4]; fx, fy, cx, cy of the images as recorded; and their eight terms of distortion."""
    turns = np.asarray(told["R_k_cam_np"], dtype=np.float64)
    poses = np.tile(np.eye(4), (len(turns), 1, 1))
    poses[:, :3, :3] = turns
    poses[:, :3, 3] = np.asarray(told["T_k_cam_np"], dtype=np.float64).reshape(-1, 3)
    matrix = np.asarray(told["intrinsics"], dtype=np.float64)
    distortion = np.asarray(told["dist8"], dtype=np.float64).ravel().tolist()
    return inverse(poses), matrix[[0, 1, 0, 1], [0, 1, 2, 2]], distortion


def _world(told: Mapping[str, Any], hands: Mapping[str, ManoHand], rows: int) -> np.ndarray:
    """Keypoints of both hands [2, T, 21, 3] in the world, NaN in rows whose pose is not finite."""
    points = np.full((2, rows, 21, 3), np.nan)
    for number, hand in enumerate(HANDS):
        pose = {key: np.asarray(told[hand][key], dtype=np.float64) for key in ("rot", "pose", "trans", "shape")}
        motion = np.concatenate([pose[key].reshape(rows, width) for key, width in MOTION.items()], axis=1)
        known = np.isfinite(motion).all(axis=1)
        shape = pose["shape"].reshape(-1, 10)[0]
        turn, bent, move = np.split(motion[known], [3, 48], axis=1)
        points[number, known] = hands[hand].keypoints(turn, bent, move, shape)
    return points


def _size(image: Path) -> tuple[int, int]:
    """Width and height of an image."""
    try:
        with Image.open(image) as opened:
            return opened.size
    except FileNotFoundError as error:
        raise LeftOut(f"its images are missing: {image.name} in {image.parent.name}") from error
    except OSError as error:
        raise LeftOut(f"a frame is damaged: {image.name}") from error
