"""The training loop: one for every objective. It owns time, steps, precision, averages, checkpoints and logs."""

from __future__ import annotations

import logging
import signal
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers.training_utils import EMAModel

from vgen.train.checkpoint import Progress, clean, load_checkpoint, save_checkpoint
from vgen.train.config import TrainConfig, config_dict
from vgen.train.distributed import Ranks, engine_for, start, to_device, update, whole_weights
from vgen.train.objectives import Batch, Objective, objective_class
from vgen.train.optimizer import build_optimizer, learning_rate_factor, scale_learning_rates
from vgen.train.record import Log, Means, memory_gb, write_record

logger = logging.getLogger(__name__)


def train(config: TrainConfig) -> Path:
    """Runs a recipe, from its newest checkpoint where the run folder has one, and returns the run folder.

    Writes `<run>/model` (diffusers folders), `checkpoints/`, `log.jsonl`, `tensorboard/` and `run.json`. Ends after
    `steps` or `max_minutes`, whichever comes first; SIGTERM ends it early with a checkpoint.
    """
    ranks = start(config.threads, config.sequence_parallel_size)
    objective = objective_class(config.objective.name)(config.objective, config.seed)
    if config.sequence_parallel_size > 1:
        objective.split_sequence(config.sequence_parallel_size)
    with ranks.first_alone():
        objective.prepare()
    trainer = Trainer(config, objective.to(ranks.device), ranks)
    trainer.run()
    return trainer.folder


class Trainer:
    """The state of one run on one rank."""

    def __init__(self, config: TrainConfig, objective: Objective, ranks: Ranks) -> None:
        self.config, self.objective, self.ranks = config, objective, ranks
        self.folder = Path(config.run)
        self.folder.mkdir(parents=True, exist_ok=True)
        optimizer = build_optimizer(objective, config.optimizer)
        self.full_rates = [group["lr"] for group in optimizer.param_groups]
        self.engine = engine_for(config, objective, optimizer)
        self.trained = [p for p in objective.parameters() if p.requires_grad]
        self.ema = (
            EMAModel(self.trained, config.ema_decay, use_ema_warmup=True, foreach=True) if config.ema_decay else None
        )
        self.progress = load_checkpoint(self.folder, self.engine, self.ema) or Progress()
        self.log = Log(self.folder, self.progress.step) if ranks.first else None
        self.means = Means()
        self.waited = 0.0  # seconds for batches since the last log line
        self.stop_asked = False

    def run(self) -> None:
        """Trains to the end, or until SIGTERM."""
        previous = signal.signal(signal.SIGTERM, self._ask_stop)
        if self.ranks.first:
            clean(self.folder)
        training_mode(self.objective)
        began = time.monotonic() - self.progress.elapsed
        saved = validated = self.progress.elapsed
        logged = replace(self.progress)
        batches = self._batches()
        while not self._over():
            self._step(batches)
            # What only one rank knows, all act on: the time of rank 0, and whether any rank was told to stop.
            elapsed, stop = self.ranks.agree(self.ranks.first * (time.monotonic() - began), self.stop_asked)
            self.progress.elapsed = elapsed
            if self.progress.step % self.config.log_every == 0:
                self._write_log(logged)
                logged = replace(self.progress)
            if stop:
                break
            if not self._over() and elapsed - validated > 60 * self.config.validate_minutes:
                self._validate()
                validated = elapsed
            if not self._over() and elapsed - saved > 60 * self.config.checkpoint_minutes:
                self._checkpoint()
                self._export()
                saved = elapsed
        batches.close()
        self._checkpoint()
        if self._over():
            self._validate()
            self._export()
        if self.log:
            self.log.close()
        signal.signal(signal.SIGTERM, previous)

    def _share(self, step: int) -> float:
        """The share of the run that is over at a step, in [0, 1]: by steps or by time, whichever is further."""
        by_time = self.progress.elapsed / (60 * self.config.max_minutes) if self.config.max_minutes else 0.0
        return min(1.0, max(step / self.config.steps, by_time))

    def _over(self) -> bool:
        return self._share(self.progress.step) >= 1.0

    def _step(self, batches: Iterator[Batch]) -> None:
        config, engine = self.config, self.engine
        share = self._share(self.progress.step)
        factor = learning_rate_factor(self.progress.step, share, config.schedule)
        scale_learning_rates(engine.optimizer, self.full_rates, factor)
        for micro in range(config.accumulation):
            index = self.progress.step * config.accumulation + micro
            asked = time.monotonic()
            batch = to_device(next(batches), self.ranks.device)
            self.waited += time.monotonic() - asked
            torch.manual_seed(_mix(config.seed, index, self.ranks.data_rank))
            engine.set_gradient_accumulation_boundary(micro == config.accumulation - 1)
            loss, metrics = engine(batch)
            engine.backward(loss.mean())
            self.progress.samples += len(loss) * self.ranks.data_world
            self.means.add(loss=loss, **metrics)
        norm = update(engine, config)
        self.progress.step += 1
        self.means.add(lr=config.optimizer.lr * factor)
        if norm is None:
            self.progress.skipped += 1
            logger.warning("step %d skipped: loss or gradient not finite", self.progress.step)
            return
        self.means.add(grad_norm=norm)
        if self.ema:
            self.ema.step(self.trained)

    def _batches(self) -> Iterator[Batch]:
        """Batches from where the run stands, prepared ahead by threads."""
        config, ranks = self.config, self.ranks
        own = ranks.data_rank, ranks.data_world
        index = self.progress.step * config.accumulation
        with ThreadPoolExecutor(config.prefetch) as pool:
            waiting: deque[Future[Batch]] = deque()
            try:
                while True:
                    while len(waiting) <= config.prefetch:
                        share = self._share(index // config.accumulation)
                        waiting.append(pool.submit(self.objective.batch, index, *own, share))
                        index += 1
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The objective in evaluation mode with its averaged weights, under the precision of the run."""
        if self.ema:
            self.ema.store(self.trained)
            self.ema.copy_to(self.trained)
        self.objective.eval()
        try:
            with torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
                yield
        finally:
            training_mode(self.objective)
            if self.ema:
                self.ema.restore(self.trained)

    def _validate(self) -> None:
        means = Means()
        with self._averaged():
            means.add(**self.objective.validate(self.ranks.data_rank, self.ranks.data_world))
        values = means.take(self.ranks)
        if self.log and values:
            self.log.write(self.progress.step, values, kind="validation")

    def _checkpoint(self) -> None:
        save_checkpoint(self.folder, self.engine, self.ema, self.progress, self.ranks, self.config.keep)

    def _export(self) -> None:
        """The averaged model and the record of the run."""
        with self._averaged(), whole_weights(self.engine):
            if self.ranks.first:
                self.objective.export(self.folder / "model")
                record = config_dict(self.config)
                write_record(self.folder, record, self.progress, self.ranks.world, self.ranks.device)
        self.ranks.barrier()

    def _write_log(self, last: Progress) -> None:
        """A record of the steps since `last`."""
        seconds = self.progress.elapsed - last.elapsed
        values = self.means.take(self.ranks) | {
            "samples_per_s": (self.progress.samples - last.samples) / seconds,
            "wait_share": self.waited / seconds,
            "memory_gb": memory_gb(self.ranks.device),
            "minutes": self.progress.elapsed / 60,
        }
        self.waited = 0.0
        if self.log:
            self.log.write(self.progress.step, values)

    def _ask_stop(self, *_: object) -> None:
        self.stop_asked = True


def training_mode(objective: Objective) -> None:
    """Training mode, but for parts that are frozen as a whole: a frozen text encoder has no dropout."""
    objective.train()
    for module in objective.modules():
        parameters = list(module.parameters())
        if parameters and not any(p.requires_grad for p in parameters):
            module.eval()


def _mix(seed: int, index: int, rank: int) -> int:
    """One 64-bit seed out of three numbers, well spread."""
    return int(np.random.SeedSequence((seed, index, rank)).generate_state(1, np.uint64)[0])
