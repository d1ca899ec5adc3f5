#!/usr/bin/env python
"""Golden values: what must stay equal, bit for bit on one machine, when the code is moved but not changed.

    python benchmarks/golden.py --out before.json
    git switch my-refactoring
    python benchmarks/golden.py --out after.json --against before.json
    python benchmarks/golden.py --checkout ../other-worktree --out before.json

Runs ten steps of each objective in fp32 on small data made here (canvas, codec, both front-ends, Stage I), and the
commands of the README with nano; keeps their losses, the SHA-256 of all frames and the trajectories. Exit code 1 says
that a value differs; the values of another machine or of another torch may differ by rounding. Takes two minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bench_common.options import add_out, check_free, make_parser

from vgen.data.lerobot.writer import LeRobotWriter
from vgen.errors import exit_on_input_error

ROOT = Path(__file__).resolve().parents[1]
FRAMES, RATE, SIDE = 40, 20, 128
CAMERA = "observation.images.first_person"
LLAMA = ("hidden_size=64", "intermediate_size=128", "num_hidden_layers=2", "num_attention_heads=2")
SHORT = ("max_minutes=null", "steps=10", "precision=fp32", "log_every=1", "threads=2", "seed=5")
SETTINGS = (*SHORT, "schedule.warmup_steps=3", "validate_minutes=1000", "checkpoint_minutes=1000", "prefetch=1")
PRESS = ["--model", "nano", "--start", "configs/canvas/media/button_0.png", "--trajectory", "configs/ego/press.json"]
HAND = ["--model", "nano", "--start", "configs/ego/hand_16.png", "--trajectory", "configs/ego/hand.npz", "--at", "0.32"]
COMMANDS: dict[str, list[str]] = {
    "demo": ["infer", "--model", "nano", "--spec", "configs/canvas/demo.yaml"],
    "inpainting": ["infer", "--model", "nano", "--spec", "configs/canvas/inpainting.yaml"],
    "transition": ["infer", "--model", "nano", "--spec", "configs/canvas/transition.yaml"],
    "extended": [
        "infer",
        "--model",
        "nano",
        "--spec",
        "configs/canvas/first_frame.yaml",
        "--extend-to",
        "29",
        "--loop",
    ],
    "press": ["rollout", *PRESS, "--text", "press the button", "--advance", "16"],
    "hand": ["rollout", *HAND, "--text", "pick up the ball", "--advance", "16"],
    "goal": ["rollout", *PRESS, "--goal", "configs/canvas/media/button_16.png@16", "--frames", "32"],
    "policy": ["rollout", "--mode", "policy", *PRESS, "--at", "0", "--text", "press the button down", "--frames", "16"],
    "inverse": [
        "rollout",
        "--model",
        "nano",
        "--mode",
        "inverse",
        "--video",
        "press/video.mp4",
        "--layout",
        "position4",
    ],
}


def write_data(folder: Path) -> None:
    """Six episodes in which a square follows a gripper over a coloured ground."""
    writer = LeRobotWriter(folder, RATE, {"observation.state": ["x", "y", "z", "gripper"]}, [CAMERA])
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for number in range(6):
        time = np.arange(FRAMES) / RATE
        x, y = 0.3 * np.sin(2 * time + number), 0.5 + 0.1 * np.cos(time * (1 + number / 4))
        state = np.stack([x, y, 0.2 + 0.05 * np.cos(3 * time), time > 1], 1).astype(np.float32)
        video = np.stack(np.broadcast_arrays(rows, columns, 20 * number + 60)[:3], -1).astype(np.uint8)
        video = np.repeat(video[None], FRAMES, 0)
        for frame, (left, top) in enumerate(zip(x, y, strict=True)):
            at = int(SIDE * (0.4 + left)), int(SIDE * (top - 0.2))
            video[frame, at[1] : at[1] + 20, at[0] : at[0] + 20] = (220, 40, 40)
        writer.add_episode({"observation.state": state}, {CAMERA: video}, f"push the square, way {number}")
    writer.finish()


def recipes(work: Path, weights: Path) -> dict[str, list[str]]:
    """The recipe of each objective, and what makes it small."""
    data = [f"dataset={work / 'data'}", "camera=first_person", f"cache={work / 'cache'}", "held_out=0.2"]
    own = [f"objective.data.{each}" for each in data]
    body = "{data: {" + ", ".join(each.replace("=", ": ", 1) for each in data) + "}, layout: position4}"
    kept = [f"objective.latents={work / 'cache'}", "objective.latent_workers=1"]
    small = ["objective.clips=20", "objective.compile=false"]
    return {
        "codec": ["nano_codec.yaml", *own, "objective.clips_per_batch=1", "objective.images_per_batch=2"],
        "canvas": [
            *("nano_canvas.yaml", *own, *kept, *small, "objective.batch=4", f"objective.codec={weights / 'vae'}"),
            *("objective.transformer.num_layers=2", "objective.transformer.num_attention_heads=2"),
            "objective.transformer.ffn_dim=256",
        ],
        "ego": [
            *("nano_ego.yaml", *own, *kept, *small, f"objective.pretrained={weights}", "objective.batch=2"),
            *("objective.ego_batch=4", f"objective.bodies=[{body}]", "objective.anchor_reach=12"),
            "objective.transformer.patch_size=[1,1,1]",
        ],
        "state": [
            *("nano_state.yaml", *kept, f"objective.codec={weights / 'vae'}", f"objective.bodies=[{body}]"),
            *(f"objective.llama.{each}" for each in LLAMA),
            *("objective.llama.num_key_value_heads=2", "objective.batch=4", "objective.horizon=8"),
        ],
    }


def call(checkout: Path, command: list[str], folder: Path) -> None:
    """Runs one command of a checkout.

    Raises:
        SystemExit: it ended with another exit code than 0; what it said is in the message.
    """
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "2"}
    environment["TMPDIR"] = str(folder)
    done = subprocess.run([sys.executable, *command], cwd=checkout, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(
            f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )


def losses(checkout: Path, work: Path, say: Callable[[str], None]) -> dict[str, list[float]]:
    """The training loss of every step of each objective."""
    found = {}
    for name, (recipe, *changes) in recipes(work, checkout / "vgen/weights/nano").items():
        run = work / "runs" / name
        say(f"ten steps of {name}")
        call(checkout, ["tools/train.py", f"configs/train/{recipe}", f"run={run}", *SETTINGS, *changes], work)
        rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        found[name] = [row["loss"] for row in rows if row["kind"] == "train"]
    return found


def hashes(checkout: Path, work: Path, say: Callable[[str], None]) -> dict[str, str]:
    """What each command of the README says of its frames, and the numbers of its trajectory."""
    found = {}
    for name, (tool, *options) in COMMANDS.items():
        say(f"the command {name}")
        out = work / name
        given = [str(work / each) if each.endswith("video.mp4") else each for each in options]
        call(checkout, [f"tools/{tool}.py", *given, "--out", str(out)], work)
        run = json.loads((out / "run.json").read_text())
        if run.get("frames_sha256"):
            found[f"{name}, frames"] = run["frames_sha256"]
        if (out / "trajectory.json").is_file():
            kept = json.loads((out / "trajectory.json").read_text())
            found[f"{name}, trajectory"] = f"{np.float64(kept['values']).sum():.17g}"
    return found


def differences(before: dict, after: dict) -> list[str]:
    """A line for each value that is not the same."""
    names = [(kind, name) for kind in after for name in {**before.get(kind, {}), **after[kind]}]
    pairs = [(name, before.get(kind, {}).get(name), after[kind].get(name)) for kind, name in names]
    return [f"{name}: {old} before, {new} now" for name, old, new in pairs if old != new]


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--checkout", type=Path, default=ROOT, help="whose commands are run; default: this one")
    add_out(parser)
    parser.add_argument("--against", type=Path, help="JSON file of an earlier run, to compare with")
    args = parser.parse_args()
    check_free(args)
    say = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731
    with tempfile.TemporaryDirectory(prefix="golden-") as folder:
        work = Path(folder)
        write_data(work / "data")
        checkout = args.checkout.resolve()
        values = {"losses": losses(checkout, work, say), "results": hashes(checkout, work, say)}
    if args.out:
        args.out.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    if args.against:
        found = differences(json.loads(args.against.read_text(encoding="utf-8")), values)
        print("\n".join(found) or "all values are equal, bit for bit")
        raise SystemExit(bool(found))


if __name__ == "__main__":
    exit_on_input_error(main)
