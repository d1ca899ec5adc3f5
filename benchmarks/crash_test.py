"""Does a run that is killed again and again end as one that never was?

    python benchmarks/crash_test.py --kills 25 --ranks 2 --zero 3 --out outputs/crash_test

Trains a tiny canvas (a real one: codec, latent cache, text encoder, dropped captions, averaged weights) once without a
break. Then trains it again, kills all its ranks with SIGKILL, starts it again, and so on: at random moments of the
training, of the start, and, every third time, in the middle of a checkpoint. Every loss that any life
logged, the last log, the exported weights and the last checkpoint must equal the unbroken run's, bit for bit.

Prints a table and writes <out>/crash_test.json; exit code 1 where anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import signal
import socket
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

os.environ |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}  # before the libraries ask

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from omegaconf import OmegaConf
from tqdm import tqdm

from vgen.data.clips import EpisodeFrames, FrameCache
from vgen.errors import RunStopped, exit_on_input_error
from vgen.train.checkpoint import checkpoints
from vgen.train.config import load_config
from vgen.train.loop import train

FORK = get_context("fork")
FRAMES, SIDE, CHANNELS = 12, 16, 4
POLL = 0.002  # seconds between looks at a run
LONGEST_SAVE = 0.1  # seconds; a kill that aims at a save comes within these of its start
MOMENT = 0.05  # seconds; a kill that aims at a step comes within these of it, so in all that follows a step, too
TAIL = 10_000  # bytes that hold the last line of a log


def write_recipe(folder: Path, steps: int, zero: int) -> Path:
    """Writes a data set of noise, a codec and the recipe of a tiny canvas below `folder`."""

    def read(episode: int) -> EpisodeFrames:
        pixels = np.random.default_rng(episode).integers(0, 255, (FRAMES, SIDE, SIDE, 3), dtype=np.uint8)
        return EpisodeFrames(pixels, f"episode {episode}")

    FrameCache.write(folder / "cache", range(6), [FRAMES] * 6, read, (SIDE, SIDE), 10.0)
    torch.manual_seed(0)
    AutoencoderKLWan(
        base_dim=8, z_dim=CHANNELS, dim_mult=[1, 1, 1], num_res_blocks=1, temperal_downsample=[True, True],
        is_residual=True, patch_size=2, in_channels=12, out_channels=12, scale_factor_spatial=8,
        latents_mean=[0.0] * CHANNELS, latents_std=[1.0] * CHANNELS,
    ).save_pretrained(folder / "vae")  # fmt: skip
    recipe = {
        "steps": steps, "log_every": 1, "zero_stage": zero, "ema_decay": 0.9, "checkpoint_minutes": 0.01, "keep": 2,
        "optimizer": {"lr": 1e-3}, "schedule": {"warmup_steps": 10},
        "objective": {
            "name": "canvas", "data": {"cache": str(folder / "cache"), "held_out": 0.2}, "codec": str(folder / "vae"),
            "latents": str(folder / "latents"), "latent_workers": 1, "frames": 9, "batch": 2, "validation_clips": 2,
            "text_length": 32,
            "transformer": {
                "num_attention_heads": 2, "attention_head_dim": 12, "freq_dim": 32, "ffn_dim": 32, "num_layers": 2,
                "rope_max_seq_len": 64,
            },
            "text_encoder": {
                "vocab_size": 384, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2,
            },
        },
    }  # fmt: skip
    path = folder / "recipe.yaml"
    OmegaConf.save(OmegaConf.create({"run": "???", **recipe}), path)
    return path


class Life:
    """One life of a run: a process for every rank, in a process group of their own, forked from this one, which has
    imported everything: so a life begins within a second."""

    def __init__(self, recipe: Path, run: Path, ranks: int) -> None:
        self.run, self.began = run, time.time()
        self._errors = run.with_suffix(".errors")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.processes: list[BaseProcess] = []
        for rank in range(ranks):
            environment = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "MASTER_PORT": port}
            environment |= {"MASTER_ADDR": "127.0.0.1"}
            process = FORK.Process(target=_live, args=(recipe, run, environment, self._errors, self.processes[:1]))
            process.start()
            self.processes.append(process)
            with suppress(OSError):  # here and in the process, whichever comes first
                os.setpgid(process.pid, self.processes[0].pid)

    def __enter__(self) -> Life:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def alive(self) -> bool:
        """False once every rank has ended well; RunStopped where one has failed by itself."""
        codes = [process.exitcode for process in self.processes]
        if any(codes):
            self.kill()
            raise RunStopped(f"a rank failed: {' '.join(self._errors.read_text().split())[-1000:]}")
        return None in codes

    def saves(self) -> bool:
        """Whether a checkpoint is being written."""
        parts = self.run.glob("checkpoints/step-*.part")
        return any(_changed(part) >= self.began and _step(part) > newest_step(self.run) for part in parts)

    def signal(self, number: signal.Signals) -> None:
        """A signal to all ranks at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.processes[0].pid, number)

    def logs(self) -> bool:
        """Whether this life has written to the log, which it does when it begins to train."""
        return _changed(self.run / "log.jsonl") >= self.began

    def kill(self) -> None:
        """SIGKILL to all ranks at once."""
        self.signal(signal.SIGKILL)
        for process in self.processes:
            process.join()

    def finish(self) -> None:
        """Waits for the end of the run."""
        while self.alive():
            time.sleep(0.05)


def _live(recipe: Path, run: Path, environment: dict, errors: Path, first: list[BaseProcess]) -> None:
    """What a rank does, as tools/train.py would."""
    with suppress(OSError):
        os.setpgid(0, first[0].pid if first else 0)
    with errors.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    os.environ.update({name: str(value) for name, value in environment.items()})
    train(load_config(recipe, [f"run={run}"]))


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removesuffix(".part").split("-")[1])


def newest_step(run: Path) -> int:
    """The step of the newest finished checkpoint; 0 where there is none."""
    return max((_step(path) for path in checkpoints(run)), default=0)


def last_step(run: Path) -> int:
    """The step of the last whole line of the log; 0 where there is none."""
    try:
        with (run / "log.jsonl").open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL))
            lines = log.read().split(b"\n")[:-1]
    except FileNotFoundError:
        return 0
    return json.loads(lines[-1])["step"] if lines else 0


def read_losses(run: Path) -> list[tuple[int, float]]:
    """(step, loss) of every training record, in the order of the log; a last line that was cut short is left out."""
    path = run / "log.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    records = [json.loads(line) for line in lines if line.endswith("\n")]
    return [(record["step"], record["loss"]) for record in records if record["kind"] == "train"]


@dataclass
class Kill:
    """When a run was killed: what was waited for, the last step in its log, and whether a save was cut off."""

    aim: str
    step: int
    in_save: bool


def kill_once(life: Life, aim: str, chance: random.Random, steps: int, start_up: float) -> Kill | None:
    """Kills a life at a moment of the kind `aim`; None where the run ended before.

    Args:
        aim: `save` (somewhere within the writing of a checkpoint), `training` (at any moment of the next `steps`
            steps) or `start` (within `start_up` seconds from nothing).
    """
    goal = newest_step(life.run) + chance.randint(1, steps)
    deadline = time.monotonic() + chance.uniform(0, start_up) if aim == "start" else None
    longest = LONGEST_SAVE
    while life.alive():
        due = deadline is not None and time.monotonic() >= deadline
        if aim == "training":
            due = life.logs() and last_step(life.run) >= goal
        elif aim == "save" and life.saves():
            due = _hold_in_save(life, chance.uniform(0, longest))
            longest *= 0.8  # saves may be shorter than that
        if due:
            time.sleep(chance.uniform(0, MOMENT) if aim == "training" else 0)
            life.kill()
            return Kill(aim, last_step(life.run), life.saves())
        time.sleep(POLL)
    return None


def _hold_in_save(life: Life, seconds: float) -> bool:
    """Stops a life some time into the save that it has begun; False where the save was over by then."""
    time.sleep(seconds)
    life.signal(signal.SIGSTOP)
    if life.saves():
        return True
    life.signal(signal.SIGCONT)
    return False


def differing_steps(run: Path, whole: dict[int, float]) -> list[int]:
    """The logged steps whose loss is not the unbroken run's."""
    return [step for step, loss in read_losses(run) if whole.get(step) != loss]


def differences(broken: Path, whole: Path) -> list[str]:
    """What is not the same in two runs that have ended; nothing where all is, bit for bit."""
    found = []
    steps = [step for step, _ in read_losses(broken)]
    if steps != [step for step, _ in read_losses(whole)]:
        found.append("the steps in the log")
    if differing := differing_steps(broken, dict(read_losses(whole))):
        found.append(f"the losses of steps {differing}")
    for path in sorted((whole / "model").rglob("*.safetensors")):
        other = broken / path.relative_to(whole)
        if not other.exists() or other.read_bytes() != path.read_bytes():
            found.append(str(path.relative_to(whole)))
    first, second = (
        json.loads((checkpoints(run)[-1] / "manifest.json").read_text())["files"] for run in (whole, broken)
    )
    states = {"state.json"}  # the time spent is its own
    found += [f"{name} of the last checkpoint" for name in sorted((first.keys() | second.keys()) - states)
              if first.get(name) != second.get(name)]  # fmt: skip
    return found


def crash(args: argparse.Namespace, folder: Path) -> dict:
    """Trains both runs; the result, ready for JSON."""
    chance, began = random.Random(args.seed), time.monotonic()
    recipe, whole, broken = write_recipe(folder, args.steps, args.zero), folder / "whole", folder / "broken"
    for run in (whole, broken):
        run.mkdir()
    with Life(recipe, whole, args.ranks) as life:
        life.finish()
    start_up = (whole / "tensorboard").stat().st_ctime - life.began
    losses = dict(read_losses(whole))
    aims = [("save", "training", "start" if kill % 9 == 8 else "training")[kill % 3] for kill in range(args.kills)]
    kills, differing = [], set()
    for aim in tqdm(aims, "kills"):
        with Life(recipe, broken, args.ranks) as life:
            kill = kill_once(life, aim, chance, max(1, args.steps // args.kills), start_up)
        if kill is None:
            break
        kills.append(kill)
        differing |= set(differing_steps(broken, losses))
    with Life(recipe, broken, args.ranks) as life:
        life.finish()
    found = differences(broken, whole)
    if differing:
        found.append(f"losses that a killed run had logged, of steps {sorted(differing)}")
    if len(kills) < args.kills:
        found.append(f"only {len(kills)} of {args.kills} kills: the run ended before; give more --steps")
    return {
        "kills": len(kills),
        "kills_in_a_save": sum(kill.in_save for kill in kills),
        "aims": Counter(kill.aim for kill in kills),
        "killed_at_steps": [kill.step for kill in kills],
        "ranks": args.ranks,
        "zero_stage": args.zero,
        "steps": args.steps,
        "seed": args.seed,
        "differences": found,
        "minutes": round((time.monotonic() - began) / 60, 1),
        "machine": platform.machine(),
        "versions": {name: version(name) for name in ("torch", "deepspeed", "diffusers")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--zero", type=int, default=0, choices=range(4), help="ZeRO stage")
    parser.add_argument("--steps", type=int, help="of the run; default: 80 for every kill")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--out", type=Path, default=Path("outputs/crash_test"), help="is emptied first")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and ends the run with it
    torch.set_num_threads(1)  # and
    tqdm.monitor_interval = 0  # no thread: a fork copies none
    args.steps = args.steps or 80 * max(1, args.kills)
    folder = args.out.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    result = crash(args, folder)
    (folder / "crash_test.json").write_text(json.dumps(result, indent=2) + "\n")
    print(f"kills         {result['kills']}, of these in the middle of a checkpoint {result['kills_in_a_save']}")
    print(f"run           {args.steps} steps, {args.ranks} ranks, ZeRO {args.zero}, {result['minutes']} minutes in all")
    print(
        f"differences   {'; '.join(result['differences']) or 'none: losses, weights and checkpoint are the same bits'}"
    )
    print(f"written to    {folder / 'crash_test.json'}")
    sys.exit(bool(result["differences"]))


if __name__ == "__main__":
    exit_on_input_error(main)
