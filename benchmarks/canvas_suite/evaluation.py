"""Every task on every clip: the model beside baselines that need no model and the codec that bounds it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor
from tqdm import tqdm

from canvas_suite.sampler import Sampler
from canvas_suite.scores import TaskScores
from canvas_suite.tasks import TASKS, ClipShape, Given, give, select
from vgen.metrics import copy_nearest, extend_edges, linear_blend


@dataclass(frozen=True)
class ClipBatch:
    """Consecutive clips of the benchmark.

    Attributes:
        truth: `[B, 3, T, H, W]` in [-1, 1].
        prompts: A sentence per clip.
        keys: (episode, start) per clip, which fix its masks.
        seeds: Of each clip's noise.
    """

    truth: Tensor
    prompts: Sequence[str]
    keys: Sequence[tuple[int, int]]
    seeds: Sequence[int]


@dataclass
class Evaluation:
    """Scores by task, and those of the codec's own reconstructions in video mode and in image mode."""

    codec: TaskScores = field(default_factory=TaskScores)
    tasks: dict[str, TaskScores] = field(default_factory=lambda: {task: TaskScores() for task in TASKS})


Watcher = Callable[[str, ClipBatch, Given, dict[str, Tensor]], None]
"""Called with the task, the clips, what was given of them, and the videos by method."""


def evaluate(sampler: Sampler, batches: Sequence[ClipBatch], shape: ClipShape, seed: int, watch: Watcher) -> Evaluation:
    """Scores all batches in all tasks, and shows each result to `watch`."""
    evaluation = Evaluation()
    with tqdm(total=len(batches) * len(TASKS), desc="tasks") as progress:
        for batch in batches:
            codec = {
                "video": sampler.reconstruct_video(batch.truth),
                "image": sampler.reconstruct_images(batch.truth),
            }
            for mode, video in codec.items():
                evaluation.codec.whole(mode, video, batch.truth)
            for task, scores in evaluation.tasks.items():
                given = give(batch.truth, [select(task, shape, (seed, *key)) for key in batch.keys])
                videos = _complete(sampler, batch, given, shape)
                _score(scores, videos, codec, batch.truth, given)
                watch(task, batch, given, videos)
                progress.update()
    return evaluation


def _complete(sampler: Sampler, batch: ClipBatch, given: Given, shape: ClipShape) -> dict[str, Tensor]:
    """The model's videos and those of the baselines; "edges" only where some pixel is given in no frame."""
    known = (given.pixels, given.masks, given.frames, shape.length)
    videos = {
        "model": sampler.complete(given, batch.prompts, shape.length, batch.seeds),
        "copy": copy_nearest(*known),
        "blend": linear_blend(*known),
    }
    anywhere = given.masks.amax(dim=1)
    return videos if anywhere.all() else videos | {"edges": extend_edges(videos["blend"], anywhere)}


def _score(
    scores: TaskScores, videos: dict[str, Tensor], codec: dict[str, Tensor], truth: Tensor, given: Given
) -> None:
    for method, video in videos.items():
        scores.whole(method, video, truth)
    scores.fidelity("model", videos["model"], truth, given)
    for mode, video in codec.items():
        scores.fidelity(f"codec_{mode}", video, truth, given)
