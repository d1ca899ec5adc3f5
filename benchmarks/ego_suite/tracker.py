"""Locates the end effector in a frame: a small convolutional network, trained on real frames of the train split.

It sees a frame at 64 x 64, somewhat blurred, noisy and of another brightness at times, so that it does not stumble over
what a codec does to a frame, and answers with the position (metres, in the layout's frame of reference) of the layout's
first body. It is trained for a fixed time and kept in the cache.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from ego_suite.bodies import RecordedBody
from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.errors import InputError
from vgen.media.pixels import to_unit
from vgen.trajectory.places import body_places
from vgen.trajectory.recorded import recorded_trajectory

SIDE = 64
FRAMES = 8000  # decoding them takes about as long as the training
BATCH, RATE = 64, 2e-3


class HandTracker(nn.Module):
    """Frames [B, 3, H, W] in [-1, 1] to positions [B, 3]; `centre` and `spread` are those of the trained positions."""

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Sequential(_block(3, 24, 2), _block(24, 48, 2), _block(48, 64, 1), _block(64, 64, 1))
        self.maps = nn.Conv2d(64, 16, 1)
        self.answer = nn.Sequential(nn.Linear(16 * 2 + 16 * 16, 128), nn.SiLU(), nn.Linear(128, 3))
        self.register_buffer("centre", torch.zeros(3))
        self.register_buffer("spread", torch.ones(3))

    def forward(self, frames: Tensor) -> Tensor:
        """Normalised positions [B, 3]: from where each map peaks, and from what lies where."""
        maps = self.maps(self.see(small(frames)))
        share = maps.flatten(2).softmax(-1).unflatten(2, maps.shape[2:])
        axis = torch.linspace(-1, 1, maps.shape[-1], device=maps.device)
        peaks = torch.cat([(share.sum(2) * axis).sum(-1), (share.sum(3) * axis).sum(-1)], dim=1)
        return self.answer(torch.cat([peaks, F.adaptive_avg_pool2d(maps, 4).flatten(1)], dim=1))

    @torch.inference_mode()
    def locate(self, frames: Tensor) -> Tensor:
        """Frames [B, 3, H, W] in [-1, 1] to positions [B, 3] in metres."""
        return self(frames.float()) * self.spread + self.centre


def small(frames: Tensor) -> Tensor:
    """Frames [B, 3, H, W] at the size that the tracker sees."""
    return F.adaptive_avg_pool2d(frames, SIDE)


def load_tracker(body: RecordedBody, cache: Path, seconds: float, seed: int) -> HandTracker:
    """The tracker of a body's data set: from the cache, or trained now and kept there.

    Raises:
        InputError: the data set cannot be read, or the file in the cache is no tracker.
    """
    dataset = LeRobotDataset(body.data, "train")
    size = dataset.info.get("total_frames", len(dataset))
    file = cache / f"tracker-{body.data.name}-{body.camera}-{size}-{seconds:g}s-{seed}.safetensors"
    tracker = HandTracker()
    if file.exists():
        try:
            tracker.load_state_dict(load_file(file))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise InputError(f"{file} holds no tracker; delete it, and it is trained anew") from error
    else:
        train(tracker, *read_frames(body, dataset, seed), seconds, seed)
        cache.mkdir(parents=True, exist_ok=True)
        save_file(tracker.state_dict(), file)
    return tracker.eval()


def read_frames(body: RecordedBody, dataset: LeRobotDataset, seed: int) -> tuple[Tensor, Tensor]:
    """Frames drawn from all episodes alike: uint8 [N, 3, SIDE, SIDE], and the positions [N, 3] in them.

    Raises:
        InputError: the data cannot be read.
    """
    rng, frames, positions = np.random.default_rng(seed), [], []
    count = math.ceil(FRAMES / len(dataset))
    for number in tqdm(range(len(dataset)), desc=f"frames of {body.name} for its tracker"):
        trajectory = recorded_trajectory(dataset, number, body.column, body.layout)
        rows = np.flatnonzero(trajectory.valid)
        chosen = np.sort(rng.choice(rows, min(count, len(rows)), replace=False))
        pixels = torch.from_numpy(dataset.frames(number, body.camera, chosen)).permute(0, 3, 1, 2)
        frames.append(small(pixels.float()).round().byte())
        positions.append(body_places(trajectory)[chosen, 0])
    return torch.cat(frames), torch.from_numpy(np.concatenate(positions)).float()


def train(tracker: HandTracker, frames: Tensor, positions: Tensor, seconds: float, seed: int) -> None:
    """Trains for a fixed time; the learning rate falls to nothing by its end."""
    torch.manual_seed(seed)
    tracker.centre, tracker.spread = positions.mean(0), positions.std(0, correction=0).clamp(min=1e-6)
    wanted = (positions - tracker.centre) / tracker.spread
    optimizer = torch.optim.AdamW(tracker.parameters(), RATE, weight_decay=1e-3)
    began, passed = time.monotonic(), 0.0
    with tqdm(desc="tracker", unit="step") as progress:
        while passed < seconds:
            optimizer.param_groups[0]["lr"] = RATE * (1 + math.cos(math.pi * passed / seconds)) / 2
            chosen = torch.randint(len(frames), (BATCH,))
            loss = F.smooth_l1_loss(tracker(_vary(to_unit(frames[chosen]))), wanted[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            progress.set_postfix(loss=f"{loss.item():.4f}", refresh=False)
            progress.update()
            passed = time.monotonic() - began


def _block(inner: int, outer: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inner, outer, 3, stride, 1), nn.GroupNorm(8, outer), nn.SiLU())


def _vary(frames: Tensor) -> Tensor:
    """Frames at times blurred, of another brightness and contrast, and noisy."""
    count, like = len(frames), {"device": frames.device}
    blurred = torch.where(torch.rand(count, 1, 1, 1, **like) < 0.5, F.avg_pool2d(frames, 3, 1, 1), frames)
    contrast, brightness = (torch.rand(2, count, 1, 1, 1, **like) * 2 - 1) * 0.1
    noise = torch.randn_like(frames) * 0.1 * torch.rand(count, 1, 1, 1, **like)
    return blurred * (1 + contrast) + brightness + noise
