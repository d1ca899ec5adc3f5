"""How long videos begin: the first frames of held-out clips, of a bench or of a LeRobot folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench_sets.bench import Bench
from canvas_suite.clips import choose_from

from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.errors import InputError
from vgen.media.video import read_video

LONGEST_TRUTH = 1025
"""Frames of a recording that are looked at beside a long video."""


@dataclass(frozen=True)
class Opening:
    """A recording whose first frames are given.

    Attributes:
        name: Of the clip.
        prompt: What it shows; may be empty.
        recorded: uint8 `[T, H, W, 3]`, as far as the recording goes.
        fps: Frames per second.
    """

    name: str
    prompt: str
    recorded: np.ndarray
    fps: float


def of_bench(folder: Path, count: int) -> list[Opening]:
    """The first clips of a bench that are a case's truth.

    Raises:
        InputError: as `Bench.read`, or the bench has no clips.
    """
    bench = Bench.read(folder)
    prompts: dict[str, str] = {}
    for case in bench.cases:
        if case.truth_file is not None and case.truth_file not in prompts and len(prompts) < count:
            prompts[case.truth_file] = case.canvas().prompt or ""
    if not prompts:
        raise InputError(f"{folder} has no case with a true video to begin with; build it of one clip or more")
    return [Opening(name, prompt, read_video(bench.folder / name), bench.fps) for name, prompt in prompts.items()]


def of_recordings(data: Path, split: str, camera: str, count: int, frames: int, stride: int) -> list[Opening]:
    """Clips of a data set's split, by the rule of `canvas_suite.clips`; each goes on to the end of its episode.

    Raises:
        InputError: the data are missing, or no episode has the frames.
    """
    if not data.exists():
        raise InputError(f"{data} is not there; record it with: vgen record metaworld --out {data}")
    dataset = LeRobotDataset(data, split)
    places = choose_from(dataset, count, (frames - 1) * stride + 1)
    if not places:
        raise InputError(f"no episode of split '{split}' has the {frames} frames of a segment")
    openings = []
    for place in places:
        length = dataset.summary(place.episode)[1]
        numbers = range(place.start, length, stride)[:LONGEST_TRUTH]
        recorded = dataset.frames(place.episode, camera, list(numbers))
        name = f"episode {place.episode} from frame {place.start}"
        openings.append(Opening(name, place.task, recorded, dataset.fps / stride))
    return openings
