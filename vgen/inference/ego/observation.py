"""What a rollout starts from, opened: frames at any time around the present one, and what is known of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.errors import InputError
from vgen.inference.ego.spec import Start
from vgen.media.clock import frames_shown
from vgen.media.fitting import fit_image
from vgen.media.source import open_clip, read_media
from vgen.trajectory.recorded import recorded_trajectory
from vgen.trajectory.trajectory import Trajectory

logger = logging.getLogger(__name__)

NEARLY = 1e-6  # of a frame: rounding of times
AT_ONCE = 32  # frames read before they are resized: they may be far larger than those of a model


@dataclass(frozen=True)
class Observation:
    """An image, a video or an episode, seen from one of its frames.

    Attributes:
        name: in messages and labels.
        read: frames by number, uint8 [T, H, W, 3].
        shown: which frames are shown at some times, in seconds on the clock of `times`.
        frame: the present one.
        times: float64 [T], when each of its frames is shown, in seconds.
        size: (H, W) in which frames are given.
        text: what the data set says is done; "" where nothing is known.
        recorded: the trajectory, absolute, on a clock that is 0 at the present frame; None where there is none.
        cut: whether frames lose a part of their sides, since they are of another aspect ratio than `size`.
    """

    name: str
    read: Callable[[Sequence[int]], np.ndarray]
    shown: Callable[[np.ndarray], np.ndarray]
    frame: int
    times: np.ndarray
    size: tuple[int, int]
    text: str = ""
    recorded: Trajectory | None = None
    cut: bool = False

    def back(self, rate: float, most: int) -> int:
        """How many frames there are at a rate up to the present one, itself included; at most so many."""
        return min(most, int((self.times[self.frame] - self.times[0]) * rate + NEARLY) + 1)

    def ahead(self, rate: float) -> int:
        """How many frames there are at a rate after the present one."""
        return int((self.times[-1] - self.times[self.frame]) * rate + NEARLY)

    def frames(self, first: int, last: int, rate: float) -> np.ndarray:
        """Frames first..last of a video at a rate whose frame 0 is the present one, each the one that is shown then.

        Returns:
            uint8 [last - first + 1, H, W, 3] of the model's size; the sides of others are cut as little as may be.
        """
        return self.at(np.arange(first, last + 1) / rate)

    def at(self, seconds: Sequence[float] | np.ndarray) -> np.ndarray:
        """As `frames`, at times in seconds from the present one."""
        numbers = self.shown(self.times[self.frame] + np.asarray(seconds, dtype=np.float64))
        parts = (numbers[first : first + AT_ONCE].tolist() for first in range(0, len(numbers), AT_ONCE))
        return np.stack([self._fitted(pixels) for part in parts for pixels in self.read(part)])

    def _fitted(self, pixels: np.ndarray) -> np.ndarray:
        if pixels.shape[:2] == self.size:
            return pixels
        return np.asarray(fit_image(Image.fromarray(pixels), self.size[::-1], "cover"))


def open_observation(
    start: Start, size: tuple[int, int], layout: str | None, column: str, needed: bool = True
) -> Observation:
    """Opens what a rollout starts from.

    Args:
        start: see there.
        size: (H, W) of the model's frames; others are resized, which is logged.
        layout, column: of an episode's trajectory; a layout of None is what the data set says.
        needed: whether an episode must have one; otherwise one that cannot be used counts as none.

    Raises:
        InputError: a file, data set, episode, frame or camera that is not there or cannot be read.
    """
    if start.episode is None:
        observation = _open_file(start, size)
    else:
        observation = _open_episode(start, start.episode, size, layout, column, needed)
    if not 0 <= observation.frame < len(observation.times):
        last = len(observation.times) - 1
        raise InputError(f"frame={observation.frame} is not in {observation.name}; it has frames 0 to {last}")
    return replace(observation, cut=_warn_of_size(observation))


def start_files(start: Start) -> list[Path]:
    """The files that a start stands on.

    Raises:
        InputError: as `open_observation`, of what is not there.
    """
    if start.episode is None:
        return [Path(start.path)]
    dataset, camera = _open_dataset(start)
    index = dataset.path / "meta" / "info.json"
    return list(dict.fromkeys([index, dataset.data_file(start.episode), dataset.frame_file(start.episode, camera)]))


def _open_file(start: Start, size: tuple[int, int]) -> Observation:
    clip = open_clip(start.path)
    if clip is not None:
        frame = clip.info.frames - 1 if start.frame is None else start.frame
        if 0 <= frame < clip.info.frames:
            _refuse_transparent(start, clip.read([frame], alpha=True))
        return Observation(_name(start), clip.read, clip.shown, frame, clip.times, size)
    if start.frame:
        raise InputError(f"{_name(start)} is an image and has no frame {start.frame}; leave out @{start.frame}")
    pixels = read_media(start.path)
    _refuse_transparent(start, pixels)
    return Observation(
        _name(start),
        lambda numbers: pixels[numbers, ..., :3],
        lambda seconds: np.zeros(len(seconds), np.int64),
        0,
        np.zeros(1),
        size,
    )


def _name(start: Start) -> str:
    """In messages and labels."""
    name = Path(start.path).name
    return name if start.episode is None else f"{name}, episode {start.episode} of {start.split}"


def _refuse_transparent(start: Start, pixels: np.ndarray) -> None:
    """Refuses a start that is transparent somewhere: what lies under it was never meant to be seen."""
    if pixels.shape[-1] == 4 and (pixels[..., 3] < 255).any():
        share = (pixels[..., 3] < 255).mean()
        raise InputError(
            f"{_name(start)} is transparent in {share:.1%} of its pixels; a start has to be whole: lay it on a colour"
        )


def _open_episode(
    start: Start, episode: int, size: tuple[int, int], layout: str | None, column: str, needed: bool
) -> Observation:
    dataset, camera = _open_dataset(start)
    _, length, text = dataset.summary(episode)
    frame, recorded = start.frame or 0, None
    try:
        recorded = recorded_trajectory(dataset, episode, column, layout)
        recorded = replace(recorded, times=recorded.times - frame / dataset.fps)
    except InputError:
        if needed:
            raise
    times = np.arange(length) / dataset.fps
    return Observation(
        _name(start),
        lambda numbers: dataset.frames(episode, camera, numbers),
        lambda seconds: frames_shown(times, 0.0, seconds),
        frame,
        times,
        size,
        text,
        recorded,
    )


def _open_dataset(start: Start) -> tuple[LeRobotDataset, str]:
    """The data set of an episode, and the camera that is seen."""
    dataset = LeRobotDataset(start.path, start.split)
    camera = start.camera
    if camera is None:
        if len(dataset.cameras) != 1:
            names = ", ".join(dataset.cameras) or "none"
            raise InputError(f"{start.path} has {len(dataset.cameras)} cameras; choose one with :camera=, of: {names}")
        camera = dataset.cameras[0]
    return dataset, camera


def _warn_of_size(observation: Observation) -> bool:
    """Logs that frames are resized; returns whether they are cut."""
    height, width = observation.read([observation.frame])[0].shape[:2]
    cut = height * observation.size[1] != width * observation.size[0]
    if (height, width) != observation.size:
        how = ", and cut to keep its aspect ratio" if cut else ""
        given, made = f"{height}x{width}", "{}x{}".format(*observation.size)
        logger.warning("%s is of %s; it is resized to the model's %s%s", observation.name, given, made, how)
    return cut
