"""A world in which a bright square goes where its trajectory says, and a tiny untrained model that knows its layout."""

import shutil

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from ego_suite.bodies import RecordedBody
from ego_suite.cases import START, EgoCase, truth_of
from ego_suite.play import Played

from vgen.backbone.codec import WanCodec
from vgen.backbone.transformer import VideoTransformer
from vgen.data.lerobot.writer import LeRobotWriter
from vgen.ego.adapter import EgoAdapter
from vgen.models import EGO
from vgen.state.frame_encoder import LatentVision
from vgen.state.language_model import new_llama
from vgen.state.model import StateConfig, StateModel
from vgen.trajectory.convert import to_delta
from vgen.trajectory.statistics import Statistics
from vgen.trajectory.trajectory import Trajectory

SIZE, SQUARE, FPS = 32, 8, 20
CAMERA, LAYOUT = "observation.images.first_person", "position4"
VELOCITIES = {"expert": 0.5, "mirrored": -0.5, "raised": 0.25, "stopped": 0.0}
NAMES = {"observation.state": ["x", "y", "z", "gripper"], "action": ["x", "y", "z", "gripper"]}


def positions(length, velocity=0.3, start=12.0, until=START):
    """Rows [T, 4]: x in pixels, at rest until a frame."""
    x = start + velocity * (np.arange(length) - until).clip(min=0)
    return np.stack([x.clip(0, SIZE - SQUARE), *np.zeros((3, length))], 1).astype(np.float32)


def paint(rows):
    """Rows [T, 4] to uint8 [T, SIZE, SIZE, 3]."""
    video = np.full((len(rows), SIZE, SIZE, 3), 40, np.uint8)
    for frame, x in zip(video, rows[:, 0].round().astype(int), strict=True):
        frame[12 : 12 + SQUARE, x : x + SQUARE] = 220
    return video


def case(velocity=0.3, reach=64, name="episode 0", kind="", seed=0):
    rows = positions(START + 1 + reach, velocity)
    trajectory = Trajectory(rows, np.arange(len(rows)) / FPS, None, LAYOUT)
    return EgoCase(name, "slide", kind, torch.from_numpy(paint(rows)).permute(3, 0, 1, 2), trajectory, reach, seed)


def group(reach=64):
    return [case(velocity, reach, f"episode {n}", kind) for n, (kind, velocity) in enumerate(VELOCITIES.items())]


def played(cases, **videos):
    """Cases with the given videos in place of the truth."""
    truth = truth_of(cases)
    still = truth[:, :, :1].expand_as(truth)
    return Played(cases, truth, {"model": truth, "none": still, "copy": still, "codec": truth} | videos)


def record(folder):
    """A body: train and test episodes of several lengths and velocities, and two groups of four."""
    writer = LeRobotWriter(folder / "data", FPS, NAMES, [CAMERA])
    for number, length in enumerate([90, 60, 30, 90, 40, 20]):
        rows = positions(length, 0.1 + 0.05 * number, until=1)
        writer.add_episode({"observation.state": rows, "action": rows}, {CAMERA: paint(rows)}, f"slide {number % 2}")
    writer.finish({"train": (0, 2), "test": (2, 6)})
    writer = LeRobotWriter(folder / "data_cf", FPS, NAMES, [CAMERA])
    for name in ("one", "two"):
        for branch, (kind, velocity) in enumerate(VELOCITIES.items()):
            rows = positions(START + 1 + 64, velocity)
            about = {"group": name, "branch": branch, "trajectory": kind, "branch_frame": START}
            writer.add_episode({"observation.state": rows, "action": rows}, {CAMERA: paint(rows)}, "slide", about)
    writer.finish({"test": (0, 8)})
    return RecordedBody("metaworld", folder / "data", folder / "data_cf", LAYOUT, ("record.py", "record.py --groups"))


def model_folder(tiny_model, folder):
    """The tiny model with untrained weights that count, an ego/ and a state/."""
    shutil.copytree(tiny_model, folder)
    torch.manual_seed(1)
    transformer = VideoTransformer.from_pretrained(folder, subfolder="transformer")
    torch.nn.init.normal_(transformer.proj_out.weight, std=0.5)
    transformer.save_pretrained(folder / "transformer")
    rows = Trajectory(positions(90), np.arange(90) / FPS, None, LAYOUT)
    choices = {"width": 16, "heads": 2, "rates": {LAYOUT: float(FPS)}}
    statistics = {LAYOUT: Statistics.fit([rows], "mean_std").to_json()}
    ego = EgoAdapter.for_backbone(transformer, 4, {LAYOUT: 4}, statistics, **choices)
    for parameter in ego.injections.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    ego.save_pretrained(folder / EGO)
    state_model(folder).save_pretrained(folder / "state")
    return folder


def state_model(folder, layout=LAYOUT, horizon=12):
    """An untrained Stage I that sees with the codec of a model folder."""
    columns = {LAYOUT: 4, "hand_boxes": 10}[layout]
    rows = Trajectory(np.random.default_rng(0).random((90, columns)), np.arange(90) / FPS, None, layout)
    config = StateConfig({layout: columns}, 2, 4, horizon, "flow", 16, 4, {layout: float(FPS)})
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    llama = new_llama(size | {"num_attention_heads": 2, "num_key_value_heads": 2})
    codec = WanCodec(AutoencoderKLWan.from_pretrained(folder, subfolder="vae").eval())
    return StateModel(config, *llama, LatentVision(4, 2, codec), {layout: Statistics.fit([to_delta(rows)])}).eval()
