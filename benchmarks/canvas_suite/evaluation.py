"""Every task on every clip: the model beside baselines that need no model and the codec that bounds it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor
from tqdm import tqdm

from canvas_suite.judges import SEED_STEP, Judges
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

    codec: TaskScores
    tasks: dict[str, TaskScores]


Watcher = Callable[[str, ClipBatch, Given, dict[str, Tensor]], None]
"""Called with the task, the clips, what was given of them, and the videos by method."""


def evaluate(
    sampler: Sampler,
    batches: Sequence[ClipBatch],
    shape: ClipShape,
    seed: int,
    watch: Watcher,
    judges: Judges | None = None,
) -> Evaluation:
    """Scores all batches in all tasks, and shows each result to `watch`."""
    judges = judges or Judges()
    evaluation = Evaluation(TaskScores(judges.metrics), {task: TaskScores(judges.metrics) for task in TASKS})
    with tqdm(total=len(batches) * len(TASKS), desc="tasks") as progress:
        for batch in batches:
            codec = {
                "video": sampler.reconstruct_video(batch.truth),
                "image": sampler.reconstruct_images(batch.truth),
            }
            seen = judges.features(batch.truth)
            _score(evaluation.codec, codec, batch.truth, judges, seen)
            for task, scores in evaluation.tasks.items():
                given = give(batch.truth, [select(task, shape, (seed, *key)) for key in batch.keys])
                videos = _complete(sampler, batch, given, shape, judges)
                _score(scores, videos, batch.truth, judges, seen)
                _score_given(scores, videos, codec, batch.truth, given)
                watch(task, batch, given, videos)
                progress.update()
    return evaluation


def model_method(number: int) -> str:
    """The name of the model's completion from a clip's n-th seed, from 0."""
    return f"model_{number + 1}" if number else "model"


def _complete(sampler: Sampler, batch: ClipBatch, given: Given, shape: ClipShape, judges: Judges) -> dict[str, Tensor]:
    """The model's videos, a peer's where it can do the task, and those of the baselines; "edges" only where some pixel
    is given in no frame."""
    known = (given.pixels, given.masks, given.frames, shape.length)
    videos = {}
    for number in range(judges.seeds):
        seeds = [seed + number * SEED_STEP for seed in batch.seeds]
        videos[model_method(number)] = sampler.complete(given, batch.prompts, shape.length, seeds)
    videos |= {"copy": copy_nearest(*known), "blend": linear_blend(*known)}
    for name, peer in judges.peers.items():
        if (video := peer(given, shape.length)) is not None:
            videos[name] = video
    anywhere = given.masks.amax(dim=1)
    return videos if anywhere.all() else videos | {"edges": extend_edges(videos["blend"], anywhere)}


def _score(scores: TaskScores, videos: dict[str, Tensor], truth: Tensor, judges: Judges, seen: Tensor | None) -> None:
    for method, video in videos.items():
        scores.whole(method, video, truth)
        if (features := judges.features(video)) is not None and seen is not None:
            scores.features(method, features, seen)


def _score_given(
    scores: TaskScores, videos: dict[str, Tensor], codec: dict[str, Tensor], truth: Tensor, given: Given
) -> None:
    scores.fidelity("model", videos["model"], truth, given)
    for mode, video in codec.items():
        scores.fidelity(f"codec_{mode}", video, truth, given)
