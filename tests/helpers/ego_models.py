"""Tiny random ego models, and media and episodes to start from, made in set-up."""

import json
import shutil

import numpy as np
import torch
from PIL import Image
from trajectory_samples import sample

from vgen.backbone.codec import WanCodec
from vgen.backbone.transformer import VideoTransformer
from vgen.data.lerobot.writer import LeRobotWriter
from vgen.ego.adapter import EgoAdapter
from vgen.media.writing import write_video
from vgen.models import EGO
from vgen.state.frame_encoder import LatentVision
from vgen.state.language_model import new_llama
from vgen.state.model import StateConfig, StateModel
from vgen.trajectory.convert import convert, to_delta
from vgen.trajectory.files import write_trajectory
from vgen.trajectory.layouts import find_layout
from vgen.trajectory.statistics import Statistics
from vgen.trajectory.trajectory import Trajectory

SIZE = (32, 64)
RATE, STATE_RATE, HORIZON = 20.0, 10.0, 3
LLAMA = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
LLAMA |= {"num_attention_heads": 2, "num_key_value_heads": 2}
CAMERA = "observation.images.first_person"
EPISODE = 24  # frames


def save_model(tiny_model, folder, vae, layouts=("position4",), form="absolute", parts=("ego", "state"), **state):
    """The tiny model with a front-end whose every weight counts, and with Stage I; it takes 2 steps at 32x64."""
    shutil.copytree(tiny_model, folder)
    index = json.loads((folder / "model_index.json").read_text())
    sizes = {"default_height": SIZE[0], "default_width": SIZE[1], "default_frames": 17, "default_steps": 2}
    (folder / "model_index.json").write_text(json.dumps(index | sizes))
    torch.manual_seed(1)
    transformer = VideoTransformer.from_pretrained(folder, subfolder="transformer", condition_attention="joint")
    torch.nn.init.normal_(transformer.proj_out.weight, std=0.5)
    transformer.save_pretrained(folder / "transformer")
    widths = {name: find_layout(name).network.width for name in layouts}
    if "ego" in parts:
        save_front_end(folder, transformer, widths, form)
    if "state" in parts:
        config = StateConfig(widths, 2, 4, HORIZON, "regression", 16, 8, dict.fromkeys(layouts, STATE_RATE), **state)
        statistics = {name: Statistics.fit([to_delta(sample(name, rate=STATE_RATE))]) for name in layouts}
        vision = LatentVision(4, 2, WanCodec(vae))
        StateModel(config, *new_llama(LLAMA), vision, statistics).save_pretrained(folder / "state")
    return folder


def save_front_end(folder, transformer, widths, form):
    """`ego/`."""
    statistics = {
        name: Statistics(name, form, "mean_std", np.zeros(width), np.ones(width)).to_json()
        for name, width in widths.items()
    }
    choices = {"width": 16, "heads": 2, "rates": dict.fromkeys(widths, RATE)}
    ego = EgoAdapter.for_backbone(transformer, 4, widths, statistics, **choices)
    for parameter in ego.injections.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    ego.save_pretrained(folder / EGO)


def hand(rows=41, rate=RATE, began=0.0):
    """A gripper that moves, absolute; the default drives 40 frames."""
    time = np.arange(rows) / rate
    values = np.stack([0.3 * np.sin(2 * time), 0.5 + 0.1 * time, 0.2 + 0.1 * np.cos(3 * time), time > 0.5], 1)
    return Trajectory(values, began + time, None, "position4")


def ramp(frames, size=SIZE):
    """A video in which every frame is brighter than the one before."""
    grey = np.linspace(0, 240, frames).astype(np.uint8)
    return np.broadcast_to(grey[:, None, None, None], (frames, *size, 3)).copy()


def write_media(folder):
    """Images, videos, trajectories (`hand.npz` and others) and two data sets (`episodes` says its layout)."""
    random = np.random.default_rng(0)
    for name, size in (("frame.png", SIZE), ("goal.png", SIZE), ("large.png", (64, 128)), ("square.png", (64, 64))):
        blots = Image.fromarray(random.integers(0, 256, (4, 8, 3), np.uint8))  # smooth, as h264 likes it
        blots.resize(size[::-1], Image.Resampling.BICUBIC).save(folder / name)
    write_video(folder / "clip.mp4", ramp(25), RATE)
    write_video(folder / "fast.mp4", ramp(25), 2 * RATE)
    write_trajectory(folder / "hand.npz", hand())
    write_trajectory(folder / "hand.json", hand())
    write_trajectory(folder / "slow.npz", hand(rows=9, rate=4.0, began=3.0))
    write_trajectory(folder / "steps.npz", to_delta(hand()))
    write_trajectory(folder / "relative.npz", convert(hand(), "relative"))
    write_trajectory(folder / "keys.npz", sample("keypoints"))
    write_episodes(folder / "episodes", ["x", "y", "z", "gripper"])
    write_episodes(folder / "unnamed", ["a", "b", "c", "d"])


def write_episodes(folder, names):
    """Three episodes of 24 frames at 20 fps, the last of which is the split `test`."""
    writer = LeRobotWriter(folder, int(RATE), {"observation.state": names}, [CAMERA])
    for number in range(3):
        state = hand(EPISODE).values + np.float32(0.01 * number)
        writer.add_episode({"observation.state": state}, {CAMERA: ramp(EPISODE)}, f"open drawer {number}")
    writer.finish({"train": (0, 2), "test": (2, 3)})
