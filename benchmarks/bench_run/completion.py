"""A case completed by the model, beside what can be had without it, and the measures of them all."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from bench_measures.available import Available, measures
from bench_measures.completed import Completed, batch_of_one
from bench_measures.given import curves
from bench_sets.bench import Case
from canvas_suite.judges import Judges, available
from canvas_suite.reconstruction import Reconstruction
from canvas_suite.tasks import Given
from torch import Tensor

from bench_run.settings import BenchSettings
from bench_run.store import CaseRecord, CompletedCase, Store
from vgen.backbone.precision import autocast
from vgen.canvas.pipeline import CanvasPipeline
from vgen.canvas.placed import PlacedCanvas
from vgen.canvas.report import nearest_frame
from vgen.media.pixels import to_uint8
from vgen.media.placing import planes
from vgen.media.video import read_video
from vgen.metrics import copy_nearest, extend_edges, linear_blend
from vgen.models import ModelInfo

MODEL, TRUTH = "model", "truth"
METHODS = {
    MODEL: "model",
    "copy": "copy of the nearest given frame",
    "blend": "linear blend in time",
    "edges": "blend, holes from their edges",
    "rife": "RIFE",
    "codec_video": "codec, video mode",
    "codec_image": "codec, image mode",
}
"""What is measured of each case, as far as it can be had, and how it is called."""
CODEC = ("codec_video", "codec_image")
"""Reconstructions of the truth: no completion by a model of this codec is nearer to it."""


@dataclass(frozen=True)
class Shares:
    """What each of several processes completes: a run of cases, which keeps those of one scene together.

    Attributes:
        cases: All that are to be done.
        settings: How; only peers and networks that are to be had here are asked for.
        store: Where they are kept.
    """

    cases: tuple[Case, ...]
    settings: BenchSettings
    store: Store

    def __call__(self, worker: int, workers: int, device: torch.device, progress: Callable[[int], object]) -> None:
        """See `vgen.data.cache.shares.Share`."""
        first, last = (len(self.cases) * number // workers for number in (worker, worker + 1))
        if first == last:
            return
        with _as_every_worker(device):
            completer = Completer.load(self.settings, device)
            for case in self.cases[first:last]:
                self.store.keep(completer.complete(case))
                progress(1)


@contextmanager
def _as_every_worker(device: torch.device) -> Iterator[None]:
    """One thread on a CPU, however many processes there are: sums round otherwise with another number."""
    threads = torch.get_num_threads()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@dataclass
class Completer:
    """A loaded model with all that judges what it makes."""

    pipe: CanvasPipeline
    info: ModelInfo
    settings: BenchSettings
    judges: Judges
    measured: Available
    reconstruct: Callable[[Path], Mapping[str, np.ndarray]] = field(init=False)

    def __post_init__(self) -> None:
        codec = Reconstruction(self.pipe.codec, 1, self.settings.bf16)
        self.reconstruct = lru_cache(maxsize=1)(lambda file: _reconstructed(codec, file))

    @classmethod
    def load(cls, settings: BenchSettings, device: torch.device) -> Completer:
        """Raises: InputError: the model, or an encoder, cannot be loaded."""
        pipe = settings.load(CanvasPipeline)
        pipe.register_to_config(default_prompt="")  # captions are read as they are
        pipe.set_progress_bar_config(disable=True)
        judges = available(settings.fvd, list(settings.peers), 1, device)
        encoders = None if settings.encoders is None else Path(settings.encoders)
        return cls(pipe, ModelInfo.of(pipe), settings, judges, measures(encoders, device))

    def complete(self, case: Case) -> CompletedCase:
        """A case, completed and measured. Raises: InputError: its canvas does not fit the model."""
        began = time.perf_counter()
        placed = self.settings.placed(case, self.info)
        with autocast(self.pipe.device.type, self.settings.bf16):
            output = self.pipe(
                placed,
                num_inference_steps=self.settings.steps,
                paradigm=self.settings.paradigm,
                guidance_scale=self.settings.guidance,
            )
        truth = case.truth()
        videos = {MODEL: output.video, **self._others(case, placed)}
        done = {name: Completed(case, video, truth, placed, placed.fps) for name, video in videos.items()}
        seen = videos if truth is None else videos | {TRUTH: truth}
        record = CaseRecord(
            name=case.name,
            group=case.group,
            kind=case.kind,
            clip=case.truth_file or case.name,
            has_truth=truth is not None,
            prompt=placed.prompt,
            given=sorted({frame for each in placed.conditions for frame, _, _ in planes(each)}),
            values={name: self.measured.values(each) for name, each in done.items()},
            curves={name: curves(each, most=4 if name == MODEL else 0) for name, each in done.items()},
            frames_sha256=hashlib.sha256(output.video.tobytes()).hexdigest(),
        )
        seconds = {stage: round(took, 3) for stage, took in output.timings.items()}
        seconds["all"] = round(time.perf_counter() - began, 3)
        return CompletedCase(record, output.video, placed.fps, self._features(seen), seconds)

    def _others(self, case: Case, placed: PlacedCanvas) -> dict[str, np.ndarray]:
        """The videos that need no model, those of peers, and the codec's own of the truth."""
        given, length = given_of(placed), placed.canvas.frames
        known = (given.pixels, given.masks, given.frames, length)
        made = {"copy": copy_nearest(*known), "blend": linear_blend(*known)}
        anywhere = given.masks.amax(dim=1)
        if not anywhere.all():
            made["edges"] = extend_edges(made["blend"], anywhere)
        for name, peer in self.judges.peers.items():
            if (video := peer(given, length)) is not None:
                made[name] = video
        videos = {name: _pixels(video) for name, video in made.items()}
        return videos if case.truth_file is None else videos | self.reconstruct(case.folder / case.truth_file)

    def _features(self, videos: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self.judges.network is None:
            return {}
        found = {name: self.judges.features(batch_of_one(video)) for name, video in videos.items()}
        return {name: features[0].numpy() for name, features in found.items() if features is not None}


def given_of(placed: PlacedCanvas) -> Given:
    """What lies on a canvas, at the nearest whole frames: those of one frame, over one another."""
    frames: dict[int, tuple[Tensor, Tensor]] = {}
    for condition in placed.conditions:
        for moment, pixels, mask in planes(condition):
            frame, inside = nearest_frame(moment), (mask > 0.5).float()
            below, known = frames.get(frame, (torch.zeros_like(pixels), torch.zeros_like(inside)))
            frames[frame] = torch.where(inside > 0, pixels, below), torch.maximum(inside, known)
    numbers = sorted(frames)
    pixels, masks = (torch.stack([frames[number][part] for number in numbers])[None] for part in (0, 1))
    return Given(pixels, masks, torch.tensor([numbers]))


def _reconstructed(codec: Reconstruction, file: Path) -> dict[str, np.ndarray]:
    truth = batch_of_one(read_video(file)).to(codec.codec.device)
    return {
        "codec_video": _pixels(codec.reconstruct_video(truth)),
        "codec_image": _pixels(codec.reconstruct_images(truth)),
    }


def _pixels(video: Tensor) -> np.ndarray:
    """`[1, 3, T, H, W]` in [-1, 1] -> uint8 `[T, H, W, 3]`."""
    return to_uint8(video[0].float().clamp(-1, 1).permute(1, 2, 3, 0)).cpu().numpy()
