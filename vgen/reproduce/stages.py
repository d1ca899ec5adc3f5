"""The stages of a way to nano, one after another; each goes on where it was, and leaves a whole model behind."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from vgen.backbone.precision import DTYPES
from vgen.errors import InputError
from vgen.files import replaced_folder, writing
from vgen.models import TrainingRange, resolve
from vgen.reproduce import bench, data
from vgen.reproduce.card import PICTURES, keep_row, write_card
from vgen.reproduce.pictures import draw_pictures
from vgen.reproduce.profile import STANDS_ON, TRAINED, Profile
from vgen.reproduce.progress import Progress, allot
from vgen.reproduce.ranks import train_here, train_on_ranks
from vgen.reproduce.recipes import goes_on, model_of, read_stage, start_of, write_recipe
from vgen.reproduce.weights import TRAINED_PARTS, parts_of, write_parts

FEW_SECONDS = 10.0  # of training, in which the best machine makes hardly a step
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Way:
    """A way to nano at work.

    Attributes:
        profile: what it does.
        out: where all goes: `codec/`, `canvas/` ... (runs), `bench/`, and the `model/` that comes of it.
        pack: a folder of packed data, to be taken instead of recording.
    """

    profile: Profile
    out: Path
    pack: Path | None = None

    def run(self, only: str | None = None) -> str:
        """Runs all stages that are not over, or one: that one also where it is over, for its share of all minutes, from
        where it is. Returns what ended it early, or "".

        Raises:
            InputError: something is missing or cannot be used.
            RunStopped: a stage cannot go on now.
        """
        trained = [stage for stage in self.profile.stages if stage in TRAINED]
        data.check_packages([read_stage(self.profile, self.out, stage) for stage in trained])
        progress = Progress.read(self.out)
        for stage in [only] if only else self.profile.stages:
            if progress.of(stage).done and not only:
                continue
            if progress.of(stage).done:
                progress.begin_anew(stage, self.profile.shares, 60 * self.profile.minutes)
            if ended := self._stage(progress, stage):
                return f"{stage}: {ended}"
        return ""

    def _stage(self, progress: Progress, stage: str) -> str:
        own, shares = progress.of(stage), self.profile.shares
        if stage in shares and not own.allotted:
            own.allotted = allot(progress, shares, 60 * self.profile.minutes, stage)
        logger.info("stage %s%s", stage, f": {own.left / 60:.1f} minutes" if stage in shares else "")
        if stage in TRAINED:
            self._forget_results(progress)
        ended = note = ""
        with progress.running(stage):
            if stage == "data":
                data.gather(self.profile, self.out, self.pack)
            elif stage in TRAINED:
                ended = self._train(progress, stage)
            elif stage == "bench":
                note = bench.measure(self.profile.bench, self.out, own.left)
            elif stage == "export":
                self.publish(progress)
                note = draw_pictures(self.profile.export.specs, self.out, own.left)
        if stage in TRAINED and not ended:
            self._hand_over(progress, stage)
        own.done, own.note = not ended, note
        if stage != "data":
            self.publish(progress)
        progress.write()  # last: a stage that is killed before is not over, and its end is gone through again
        return ended

    def _train(self, progress: Progress, stage: str) -> str:
        """Trains a stage for the time that it has left."""
        self._make_start(stage)
        recipe = write_recipe(self.profile, self.out, stage)
        seconds = progress.of(stage).left
        if seconds < FEW_SECONDS:
            told = "the stages before it took all minutes, so that it learns next to nothing; afterwards, "
            logger.warning("stage %s: %svgen nano --stage %s gives it its share", stage, told, stage)
        left = [f"wall_minutes={max(seconds, 0.1) / 60:.4f}"]
        if self.profile.ranks == 1:
            return train_here(recipe, left, lambda: self.publish(progress))
        return train_on_ranks(
            recipe, left, self.profile.ranks, model_of(self.out, stage), lambda: self.publish(progress)
        )

    def _hand_over(self, progress: Progress, stage: str) -> None:
        """Gives what a stage has made to the stages that stand on it and have begun: what they stood on is no more, so
        that they are to go on from their own weights and these."""
        for later in (name for name, before in STANDS_ON.items() if stage in before):
            run, start = self.out / later, start_of(self.out, later)
            if not (run.exists() or start.exists()):
                continue
            logger.info("%s: is to go on, as %s is another one now", later, stage)
            with writing(start):
                start.parent.mkdir(parents=True, exist_ok=True)
                with replaced_folder(start) as aside:
                    write_parts(parts_of(start) | self._made_by(later) | self._made_by(stage), aside)
                    self._write_range(TRAINED, aside)
            if run.exists():
                keep_row(progress, later)
                progress.begin_anew(later, self.profile.shares, 60 * self.profile.minutes)
                progress.of(later).earlier = 0.0  # is in the row
                progress.write()
                shutil.rmtree(run)

    def _newest(self, stage: str) -> Path:
        """The folder of what a stage has made, or of what it begins with."""
        made = model_of(self.out, stage)
        return made if made.exists() else start_of(self.out, stage)

    def _made_by(self, stage: str) -> dict[str, Path]:
        """The parts that are a stage's to make, as they are now."""
        return parts_of(self._newest(stage), TRAINED_PARTS[stage])

    def _forget_results(self, progress: Progress) -> None:
        """Removes what was measured and drawn of the model before, which a training makes another one."""
        for stage, folder in (("bench", bench.FOLDER), ("export", PICTURES)):
            progress.stages.pop(stage, None)
            if (self.out / folder).exists():
                logger.info("%s: removed, as the model becomes another one", self.out / folder)
                shutil.rmtree(self.out / folder)

    def _make_start(self, stage: str) -> None:
        """Puts together, once, what a stage goes on from."""
        folder = start_of(self.out, stage)
        needless = stage == "state" and not goes_on(self.profile, self.out, stage) and "codec" in self.profile.stages
        if folder.exists() or needless:
            return
        with writing(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with replaced_folder(folder) as aside:
                before = TRAINED[: TRAINED.index(stage)]
                write_parts(self._parts(before), aside)
                self._write_range(before, aside)

    def _parts(self, stages: tuple[str, ...] = TRAINED) -> dict[str, Path]:
        """Of each part of a model the newest that there is, out of some stages."""
        parts = parts_of(Path(resolve(self.profile.start))) if self.profile.start else {}
        for stage in stages:
            parts |= self._made_by(stage)
        return parts

    def _write_range(self, stages: tuple[str, ...], folder: Path) -> None:
        """Writes what a model was trained on; what its codec holds is said by the codec's own run."""
        folders = [Path(resolve(self.profile.start))] if self.profile.start else []
        folders += [self._newest(stage) for stage in stages if stage != "codec"]
        known = [found for each in folders if (found := TrainingRange.read(each))]
        codec = TrainingRange.read(model_of(self.out, "codec"))
        if known and codec is not None:
            known.append(replace(known[-1], codec_psnr=codec.codec_psnr))
        newest = known[-1] if known else codec
        if newest is not None:
            newest.write(folder)

    def publish(self, progress: Progress) -> None:
        """Writes `<out>/model` anew, out of all that there is by now, with its card, which tells of the progress."""
        parts = self._parts()
        if not parts:
            raise InputError(f"{self.out} holds no model yet; train its stages first, without --stage export")
        folder = self.out / "model"
        with writing(folder), replaced_folder(folder) as aside:
            write_parts(parts, aside, DTYPES[self.profile.dtype])
            self._write_range(TRAINED, aside)
            write_card(self.profile, progress, aside)
