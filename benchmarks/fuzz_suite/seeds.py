"""One valid input of every kind, and the recipes that read them: what cases copy and then damage."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from fuzz_suite.media import FRAMES, RATE, SIDE, picture, write_images, write_videos
from vgen.data.cache.frames import EpisodeFrames, FrameCache
from vgen.data.lerobot.writer import LeRobotWriter
from vgen.errors import InputError
from vgen.media.writing import write_video
from vgen.models import resolve
from vgen.trajectory.files import write_trajectory
from vgen.trajectory.trajectory import Trajectory

Command = Callable[[str, Sequence[str], Path], None]  # runs a command with its options in a folder

CAMERA = "observation.images.main"
INFER = ("--frames", "5", "--size", "32x32", "--steps", "1", "--guidance", "1", "--out", "out")
ROLLOUT = ("--frames", "4", "--steps", "1", "--out", "out")
ROWS = 40


@dataclass(frozen=True)
class Seeds:
    """Where the valid inputs lie.

    Attributes:
        folder: of all of them; its folders images, videos, hands, spec, data, footage, recipes, runs and model.
    """

    folder: Path

    def files(self, name: str) -> list[Path]:
        """The files below one of its folders, in order."""
        return sorted(path for path in (self.folder / name).rglob("*") if path.is_file())

    def small(self) -> list[Path]:
        """All files that others are mixed with."""
        kinds = ("images", "videos", "hands", "spec", "data", "footage", "recipes")
        return [path for kind in kinds for path in self.files(kind)]


def make_seeds(folder: Path, run: Command) -> Seeds:
    """Writes them; what takes a command to make is made with it."""
    write_images(folder / "images")
    write_videos(folder / "videos")
    write_hands(folder / "hands")
    write_data(folder / "data")
    write_footage(folder / "footage")
    write_spec(folder / "spec")
    write_recipes(folder / "recipes")
    shutil.copytree(resolve("nano"), folder / "model")
    write_runs(folder, run)
    return Seeds(folder)


def hand(rows: int = ROWS, rate: float = 80.0) -> Trajectory:
    """A gripper that moves a little."""
    time = np.arange(rows) / rate
    values = np.stack([0.1 * np.sin(4 * time), 0.6 + 0.1 * time, 0.2 + 0.05 * np.cos(3 * time), time > 0.2], 1)
    return Trajectory(values, time, None, "position4")


def write_hands(folder: Path) -> None:
    """A trajectory in each format that has one of its own; those of parquet lie in the data set."""
    folder.mkdir()
    for suffix in (".npz", ".json"):
        write_trajectory(folder / f"hand{suffix}", hand())


def write_data(folder: Path) -> None:
    """A LeRobot v3 data set of four episodes."""
    names = ["x", "y", "z", "gripper"]
    writer = LeRobotWriter(
        folder, 20, {"observation.state": names}, [CAMERA], layouts={"observation.state": "position4"}
    )
    for number in range(4):
        video = np.stack([picture(20 * number + frame, 32) for frame in range(20)])
        writer.add_episode({"observation.state": hand(20, 20.0).values}, {CAMERA: video}, f"push the button {number}")
    writer.finish({"train": (0, 3), "test": (3, 4)})


def write_footage(folder: Path) -> None:
    """Five videos with captions in each form: `txt`, `csv` and `jsonl` have their own folder."""
    for form in ("txt", "csv", "jsonl"):
        (folder / form).mkdir(parents=True)
        for number in range(5):
            write_video(
                folder / form / f"{number}.mp4", np.stack([picture(20 * number + n, 32) for n in range(FRAMES)]), RATE
            )
        captions = {f"{number}.mp4": f'a "smooth" picture, number {number}' for number in range(5)}
        if form == "txt":
            for name, caption in captions.items():
                (folder / form / name).with_suffix(".txt").write_text(caption + "\n")
        elif form == "csv":
            with (folder / form / "metadata.csv").open("w", newline="") as file:
                csv.writer(file).writerows([("file_name", "text"), *captions.items()])
        else:
            lines = [json.dumps({"file_name": name, "text": caption}) for name, caption in captions.items()]
            (folder / form / "metadata.jsonl").write_text("\n".join(lines) + "\n")


def write_spec(folder: Path) -> None:
    """A canvas, its picture beside it."""
    folder.mkdir()
    spec = {
        "frames": 5, "size": "32x32", "prompt": "a smooth picture", "negative_prompt": "noise", "fps": 10.0, "seed": 3,
        "patches": [
            {"source": "first.png", "frame": 0, "fit": "cover"},
            {"source": "first.png", "frame": -1, "box": [0.1, 0.1, 0.8, 0.9], "mask": "mask.png"},
        ],
    }  # fmt: skip
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    write_picture(folder / "first.png")
    write_picture(folder / "mask.png")


def write_picture(file: Path) -> None:
    """A PNG of SIDE pixels."""
    from PIL import Image

    Image.fromarray(picture(1, SIDE)).save(file)


def write_recipes(folder: Path) -> None:
    """A recipe for every objective, whose data lie in `../in`, beside the folder where it is run."""
    folder.mkdir()
    footage = {"videos": "in/footage", "cache": "cache", "held_out": 0.2, "max_bad_share": 0.5, "sizes": ["32x32"]}
    dataset = {"dataset": "in/data", "camera": "main", "cache": "cache", "held_out": 0.4, "max_bad_share": 0.5}
    canvas = {
        "name": "canvas", "pretrained": "nano", "latents": "cache", "latent_workers": 1, "frames": 5, "batch": 1,
        "clips": 4, "validation_clips": 1, "attention": "native", "lora": {"rank": 2, "alpha": 2.0},
    }  # fmt: skip
    body = {"data": dataset, "layout": "position4"}
    llama = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    state = {
        "name": "state", "bodies": [body], "codec": "model/vae", "latents": "cache", "latent_workers": 1, "horizon": 4,
        "inverse_horizon": 4, "batch": 1, "validation_windows": 1,
        "llama": llama | {"num_attention_heads": 2, "num_key_value_heads": 2},
    }  # fmt: skip
    ego = {key: value for key, value in canvas.items() if key != "lora"}
    ego |= {"name": "ego", "data": dataset, "ego_batch": 1, "history": 2, "bodies": [body], "validation_clips": 1}
    codec = {
        "name": "codec", "pretrained": "model/vae", "decoder_only": True, "data": dataset, "frames": 5,
        "clips_per_batch": 1, "images_per_batch": 1,
    }  # fmt: skip
    objectives: dict[str, dict[str, Any]] = {
        "footage": canvas | {"data": footage},
        "dataset": canvas | {"data": dataset},
        "whole": canvas | {"data": dataset | {"decode_once": False}},
        "cached": canvas | {"data": {"cache": "cache", "held_out": 0.4, "max_bad_share": 0.5}},
        "state": state,
        "ego": ego,
        "codec": codec,
    }
    for name, objective in objectives.items():
        recipe = {"run": "run", "steps": 1, "log_every": 1, "ema_decay": 0, "objective": objective}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(recipe))


def write_runs(folder: Path, run: Command) -> None:
    """What commands leave, in `runs/<name>` with what it was made of: two to repeat, one of training, caches."""
    for name in ("infer", "rollout", "train", "cached"):
        (folder / "runs" / name / "in").mkdir(parents=True)
        (folder / "runs" / name / "model").symlink_to(folder / "model")
    runs = folder / "runs"
    shutil.copy(folder / "spec" / "first.png", runs / "infer" / "in")
    run("infer", ("--patch", "in/first.png@0", *INFER), runs / "infer")
    shutil.copy(folder / "spec" / "first.png", runs / "rollout" / "in")
    shutil.copy(folder / "hands" / "hand.npz", runs / "rollout" / "in")
    run("rollout", ("--start", "in/first.png", "--trajectory", "in/hand.npz", *ROLLOUT), runs / "rollout")
    shutil.copytree(folder / "footage" / "txt", runs / "train" / "in" / "footage")
    run("train", (str(folder / "recipes" / "footage.yaml"), "keep=3"), runs / "train")
    if not (runs / "train" / "run" / "model").is_dir():
        raise InputError(f"{runs / 'train'} holds no model: the recipe of the seeds does not train")
    for naming in ("diffusers", "comfyui", "kohya"):
        run("export", ("run", "--lora", naming, "--out", f"{naming}.safetensors"), runs / "train")
    FrameCache.write(
        runs / "cached" / "cache", range(4), [FRAMES] * 4,
        lambda n: EpisodeFrames(np.stack([picture(20 * n + k, 32) for k in range(FRAMES)]), f"episode {n}"),
        (32, 32), 10.0,
    )  # fmt: skip
