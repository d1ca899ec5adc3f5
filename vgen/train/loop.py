"""The training loop: one for every objective. It owns time, steps, precision, averages, checkpoints and logs."""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vgen.backbone.precision import autocast
from vgen.device import device_name, memory_gb
from vgen.errors import RunStopped
from vgen.files import replaced_folder, writing
from vgen.train.average import Average
from vgen.train.batch import Batch
from vgen.train.checkpoint.folder import Checkpoint, Progress, State, clean, save_checkpoint
from vgen.train.checkpoint.lock import RunLock, check_lock, run_lock
from vgen.train.checkpoint.resume import find_resume, needs_conversion, resume, weight_shapes
from vgen.train.config import TrainConfig, config_dict, fingerprint
from vgen.train.distributed import Ranks, Updater, engine_for, start, whole_weights
from vgen.train.gradients import GradientWatch
from vgen.train.guard import KEPT, WINDOW, all_or_none, is_spike, keep_bad_batch, not_finite
from vgen.train.logs import (
    Live,
    Log,
    Means,
    Pace,
    TensorBoard,
    exported_at,
    run_record,
    versions,
    write_record,
)
from vgen.train.objectives import Objective, objective_class
from vgen.train.objectives.base import training_mode
from vgen.train.optimizer import build_optimizer, learning_rate_factor, scale_learning_rates
from vgen.train.prefetch import ahead
from vgen.train.preparation import prepare_unless_stopped
from vgen.train.samples import Samples
from vgen.train.stop import Stop, StopAsked
from vgen.train.trackers import WebTracker

logger = logging.getLogger(__name__)

Place = tuple[int, int, int, float]
"""Of a batch, all that `Objective.batch` makes it from: step, part, parts, progress."""


def train(
    config: TrainConfig,
    stop: Stop | None = None,
    only_prepare: bool = False,
    exported: Callable[[], object] | None = None,
) -> Path:
    """Runs a recipe, from its newest whole checkpoint where the run folder has one, and returns the run folder.

    Writes `<run>/model` (diffusers folders), `checkpoints/`, `log.jsonl`, `tensorboard/` and `run.json`. Ends after
    `steps`, `max_minutes` or `wall_minutes`, whichever comes first; SIGTERM or Ctrl-C ends it early: with a checkpoint,
    or, while data are prepared, with what is prepared so far. The same recipe then goes on. While it runs, nothing else
    trains there.

    Args:
        stop: learns whether the run was ended early, and how far it was.
        only_prepare: to end before the first step, with all that is made of the data.
        exported: is called, on rank 0 alone, whenever `<run>/model` has been written.

    Raises:
        InputError: another run has the folder; or the checkpoints are of another recipe, or all damaged.
        RunStopped: the disk is full, or too many steps in a row had to be skipped.
    """
    stop, began = stop or Stop(), time.monotonic()
    with stop.listening():
        ranks = start(config.threads, config.sequence_parallel_size)
        with run_lock(Path(config.run), ranks) as lock:
            checkpoint = find_resume(config, ranks)  # first, as preparing may take hours
            objective = objective_class(config.objective.name)(config.objective, config.seed)
            if config.sequence_parallel_size > 1:
                objective.split_sequence(config.sequence_parallel_size)
            samples = Samples(config.samples, objective, Path(config.run))
            objective.bad_data = Path(config.run) / "bad_data.jsonl"
            if checkpoint:
                objective.keep_measured(checkpoint.state.measured)
            if not prepare_unless_stopped(objective, ranks, stop) or only_prepare:
                return Path(config.run)
            if config.zero_stage < 3:  # which takes them to the device in parts
                objective.to(ranks.device)
            trainer = Trainer(config, objective, ranks, checkpoint, samples, stop, lock)
            trainer.exported = exported
            trainer.end_after(began)
            trainer.run()
            return trainer.folder


@dataclass(frozen=True)
class _Learned:
    """What is kept of a batch whose gradient is taken: its place, the names of its clips, and its loss [B]."""

    place: Place
    names: list[str]
    loss: Tensor


class Trainer:
    """The state of one run on one rank; `checkpoint` is what `find_resume` found.

    Attributes:
        exported: is called on rank 0 when the run's model has been written.
        ends: seconds of training, over all resumes, after which it is over.
    """

    exported: Callable[[], object] | None = None

    def __init__(
        self,
        config: TrainConfig,
        objective: Objective[Any],
        ranks: Ranks,
        checkpoint: Checkpoint | None = None,
        samples: Samples | None = None,
        stop: Stop | None = None,
        lock: RunLock | None = None,
    ) -> None:
        self.config, self.objective, self.ranks, self.samples = config, objective, ranks, samples
        self.stop, self.lock = stop or Stop(), lock
        self.ends = 60 * config.max_minutes if config.max_minutes else math.inf
        self.folder = Path(config.run)
        self.folder.mkdir(parents=True, exist_ok=True)
        optimizer = build_optimizer(objective, config.optimizer)
        self.full_rates = [group["lr"] for group in optimizer.param_groups]
        universal = checkpoint is not None and needs_conversion(checkpoint, config, ranks)
        self.engine = engine_for(config, objective, optimizer, universal)
        self.watch = GradientWatch(self.engine.module, ranks)
        self.average = Average(self.engine, config.ema_decay, ranks) if config.ema_decay else None
        self.progress = checkpoint.state.progress if checkpoint else Progress()
        if checkpoint:
            resume(checkpoint, self.engine, self.average, ranks)
        self.updater = Updater(
            self.engine, config, lambda norm: is_spike(norm, self.progress.norms, config.spike_factor)
        )
        self.log = self._open_log()
        self.live = Live(config, ranks, self.progress.step)
        self.means, self.pace = Means(), Pace()

    def end_after(self, began: float) -> None:
        """Ends `wall_minutes` after a moment, as `time.monotonic` tells it on rank 0."""
        if self.config.wall_minutes is None:
            return
        (left,) = self.ranks.agree(self.ranks.first * (60 * self.config.wall_minutes - (time.monotonic() - began)))
        self.ends = min(self.ends, self.progress.elapsed + max(0.0, left))

    def run(self) -> None:
        """Trains to the end, or until it is told to stop."""
        training_mode(self.objective)
        began = time.monotonic() - self.progress.elapsed
        saved = validated = self.progress.elapsed
        self.pace.restart()
        batches = ahead(self._batch, self._places(), self.config.prefetch)
        try:
            self._keep_export()  # which a run that was stopped at this step has not done
            while not self._over():
                self._step(batches)
                # What only one rank knows, all act on: the time of rank 0, and whether any rank was told to stop.
                elapsed, stop = self.ranks.agree(self.ranks.first * (time.monotonic() - began), self.stop.asked)
                self.progress.elapsed = elapsed
                if self.progress.step % self.config.log_every == 0:
                    self._write_log()
                if stop:
                    break
                if self.samples and self.samples.due(self.progress.step, self._over()) and not self._draw():
                    break
                self._keep_export()
                if not self._over() and elapsed - validated > 60 * self.config.validate_minutes:
                    if not self._validate():
                        break
                    validated = elapsed
                if not self._over() and elapsed - saved > 60 * self.config.checkpoint_minutes:
                    self._checkpoint()
                    self._export()
                    saved = elapsed
        finally:
            batches.close()
            self.live.close()
        self._checkpoint()
        self._finish()

    def _finish(self) -> None:
        """What follows the last checkpoint: of a run that is over, its scores and its model."""
        if self._over() and self._validate():
            self._export()
        else:
            step, steps = self.progress.step, self.config.steps
            self.stop.report = f"stopped at step {step} of {steps}; the same command goes on"
        if self.ranks.first and (summary := self.objective.data_summary()):
            logger.info(summary)
        with all_or_none(self.ranks, f"the log of {self.folder}", self.folder):
            if self.log:
                self.log.close()

    def _open_log(self) -> Log | None:
        with all_or_none(self.ranks, f"the log of {self.folder}", self.folder):
            if self.ranks.first:
                clean(self.folder)
                step = self.progress.step
                names, config = self.config.trackers, config_dict(self.config)
                web = [WebTracker(name, self.config.project, self.folder, config) for name in names]
                return Log(self.folder, step, [TensorBoard(self.folder, step), *web])
        return None

    def _share(self, step: int) -> float:
        """The share of the run that is over at a step, in [0, 1]: by steps or by time, whichever is further."""
        by_time = self.progress.elapsed / self.ends if self.ends else 1.0
        return min(1.0, max(step / self.config.steps, by_time))

    def _over(self) -> bool:
        return self._share(self.progress.step) >= 1.0

    def _step(self, batches: Iterator[tuple[Place, Batch]]) -> None:
        config, engine, step = self.config, self.engine, self.progress.step
        factor = learning_rate_factor(step, self._share(step), config.schedule)
        scale_learning_rates(engine.optimizer, self.full_rates, factor)
        pace, measured, learned = Pace(), Means(), []
        for micro in range(config.accumulation):
            engine.set_gradient_accumulation_boundary(micro == config.accumulation - 1)
            learned.append(self._learn(batches, (pace, self.pace), measured))
        self.watch.check()
        taken = self.updater.step()
        self.progress.step += 1
        self.progress.samples += pace.samples
        if not taken:
            self._skipped(learned)
            return
        norm, lr = self.updater.norm, config.optimizer.lr * factor
        self.progress.skipped_in_row = 0
        self.progress.norms = [*self.progress.norms, norm][-WINDOW:]
        self.means.join(measured)
        self.means.add(lr=lr, grad_norm=norm)
        if self.average:
            self.average.step()
        if self.live.shown:
            self.live.show(loss=measured.mean("loss"), lr=lr, memory_gb=memory_gb(self.ranks.device), **pace.take())

    def _learn(self, batches: Iterator[tuple[Place, Batch]], paces: Sequence[Pace], measured: Means) -> _Learned:
        """The gradient of the next batch, which is let go of: a step needs no more memory for more of them."""
        asked = time.monotonic()
        place, batch = next(batches)
        batch = batch.to(self.ranks.device)
        waited = time.monotonic() - asked
        step, part, *_ = place
        torch.manual_seed(_mix(self.config.seed, step, part))
        loss, metrics = self.engine(batch)
        self.engine.backward(loss.mean())
        measured.add(loss=loss, **metrics)
        sizes = len(loss) * self.ranks.data_world, self.objective.tokens(batch) * self.ranks.data_world
        for pace in paces:
            pace.add(*sizes, waited)
        return _Learned(place, batch.names(), loss.detach())

    def _skipped(self, learned: Sequence[_Learned]) -> None:
        """Counts a step that was not taken; RunStopped where it is one too many in a row. Its batches are made once
        more where they are to be saved."""
        progress, norm = self.progress, self.updater.norm
        progress.skipped += 1
        progress.skipped_in_row += 1
        wrong = [name for each in learned for name in not_finite(each.names, each.loss)]
        names = list(dict.fromkeys(name for mine in self.ranks.gather(wrong) for name in mine))
        told = f"; the loss is not finite of {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}" if names else ""
        if self.ranks.first:
            logger.warning("step %d skipped: its gradient's norm is %.4g%s", progress.step, norm, told)
        if progress.skipped_in_row <= self.config.max_skipped:
            return
        own = learned if self.ranks.rank % self.ranks.sequence == 0 else []  # ranks of one sample have one batch
        parts = {each.place[1]: partial(self.objective.batch, *each.place) for each in own}
        about = {"step": progress.step, "gradient_norm": norm, "not_finite": names}
        kept = keep_bad_batch(self.folder, parts, about, self.ranks)
        raise RunStopped(
            f"{progress.skipped_in_row} steps in a row were skipped (the last at step {progress.step}, gradient norm "
            f"{norm:.4g}; max_skipped={self.config.max_skipped}{told}); {kept}, and the same "
            "command goes on from the newest checkpoint, with another optimizer.lr or spike_factor if you give one"
        )

    def _places(self) -> Iterator[Place]:
        """The batches from where the run stands, on and on."""
        config, ranks = self.config, self.ranks
        parts = ranks.parts(config.accumulation)
        for index in itertools.count(self.progress.step * config.accumulation):
            step, micro = divmod(index, config.accumulation)
            yield step, ranks.part(micro), parts, self._share(step)

    def _batch(self, place: Place) -> Batch:
        """A batch, ready for the device."""
        batch: Batch = self.objective.batch(*place)
        return batch.pinned() if self.ranks.device.type == "cuda" else batch

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The objective in evaluation mode with its averaged weights, under the precision of the run."""
        with self.average.swapped_in() if self.average else nullcontext():
            self.objective.eval()
            try:
                with autocast(self.ranks.device.type, self.config.precision == "bf16"):
                    yield
            finally:
                training_mode(self.objective)

    def _validate(self) -> bool:
        """Scores of the averaged model; False where the run was told to stop meanwhile, as of `_draw`."""
        means = Means()
        try:
            with self._averaged():
                means.add(**self.objective.validate(self.ranks.data_rank, self.ranks.data_world, self._heed_stop))
        except StopAsked:
            return False
        self._enter(means.take(self.ranks), "validation")
        return True

    def _draw(self) -> bool:
        """Samples of the averaged model; False where the run was told to stop meanwhile, which may be for longer than
        a scheduler waits, and none is kept."""
        assert self.samples is not None, "only a run with samples draws"
        try:
            with self._averaged():
                videos = self.samples.draw(self._heed_stop)
        except StopAsked:
            return False
        with all_or_none(self.ranks, f"the samples of {self.folder}", self.folder):
            if self.log:
                for name, folder in self.samples.write(self.progress.step, videos):
                    self.log.show(self.progress.step, name, folder)
        return True

    def _heed_stop(self) -> None:
        """Raises StopAsked, on all ranks, where one was told to stop."""
        (asked,) = self.ranks.agree(self.stop.asked)
        if asked:
            raise StopAsked

    def _checkpoint(self) -> None:
        if self.lock:
            check_lock(self.lock, self.ranks)
        config = config_dict(self.config)
        state = State(
            self.progress,
            config,
            fingerprint(config),
            self.ranks.world,
            self.ranks.parts(self.config.accumulation),
            weight_shapes(self.engine.module),
            device_name(self.ranks.device),
            versions(),
            self.objective.measured(),
        )
        save_checkpoint(self.folder, self.engine, self.average, state, self.ranks, self.config.keep)

    def _export(self) -> None:
        """The averaged model and the record of the run."""
        self._export_to(self.folder / "model", self.folder)
        if self.exported and self.ranks.first:
            self.exported()

    def _keep_export(self) -> None:
        """The averaged model and its record, where it is to be kept of this step, in a folder of its own."""
        every, folder = self.config.keep_exports, exported_at(self.folder, self.progress.step)
        due = every and self.progress.step and self.progress.step % every == 0
        if due and not self.ranks.gather(folder.exists())[0]:  # as it does after a kill, with the very same weights
            self._export_to(folder, None)

    def _export_to(self, folder: Path, records: Path | None) -> None:
        """Writes the averaged model; its record goes into the folder `records`, or beside the model's own files."""
        what = f"the model of {self.folder}"
        with (
            self._averaged(),
            whole_weights(self.objective.exported(), self.ranks),
            all_or_none(self.ranks, what, self.folder),
        ):
            if self.ranks.first:
                folder.parent.mkdir(parents=True, exist_ok=True)
                config, device = config_dict(self.config), device_name(self.ranks.device)
                record = run_record(config, self.progress, self.ranks.world, device, versions())
                with replaced_folder(folder) as aside, writing(what, KEPT, aside):
                    self.objective.export(aside)
                    if records is None:
                        write_record(aside, record)
                if records is not None:
                    write_record(records, record)

    def _write_log(self) -> None:
        """An entry of the steps since the last one."""
        about = {"memory_gb": memory_gb(self.ranks.device), "minutes": self.progress.elapsed / 60}
        self._enter(self.means.take(self.ranks) | self.pace.take() | about, "train")

    def _enter(self, values: dict[str, float], kind: str) -> None:
        with all_or_none(self.ranks, f"the log of {self.folder}", self.folder):
            if self.log and values:
                self.log.write(self.progress.step, values, kind)


def _mix(seed: int, step: int, part: int) -> int:
    """One 64-bit seed out of three numbers, well spread."""
    return int(np.random.SeedSequence((seed, step, part)).generate_state(1, np.uint64)[0])
