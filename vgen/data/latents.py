"""Latents of clips, encoded once by the frozen codec and kept in a memory map: the targets of training."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from tqdm import tqdm

from vgen.backbone.codec import WanCodec
from vgen.backbone.shapes import latent_frames
from vgen.data.clips import ClipSampler
from vgen.data.video import to_unit

logger = logging.getLogger(__name__)

CLIPS_AT_ONCE = 4


class LatentCache:
    """Latents of clips.

    Attributes:
        latents: float16 [N, C, F, h, w], normalised, memory-mapped.
        numbers: the number of each clip in the sampler that it was cut by.
    """

    def __init__(self, folder: str | Path) -> None:
        """Opens the cache in `folder`."""
        self.folder = Path(folder)
        self.numbers: list[int] = json.loads((self.folder / "index.json").read_text())["numbers"]
        self.latents = np.load(self.folder / "latents.npy", mmap_mode="r")

    def __len__(self) -> int:
        """N, the number of cached clips."""
        return len(self.numbers)

    @classmethod
    def of_clips(
        cls, clips: ClipSampler, numbers: Sequence[int], codec: str | Path, root: str | Path, workers: int = 1
    ) -> LatentCache:
        """The cache of some clips, encoded now unless a folder below `root` holds it already.

        Args:
            clips: where the clips are cut.
            numbers: which of them.
            codec: the diffusers folder of the AutoencoderKLWan. Its content is part of the cache's name, as is all
                that decides on the pixels.
            workers: processes that encode side by side.
        """
        folder = Path(root) / f"{clips.cache.folder.name}-latents-{_digest(clips, numbers, Path(codec))}"
        if folder.exists():
            return cls(folder)
        part = folder.with_name(folder.name + ".part")
        part.mkdir(parents=True, exist_ok=True)
        config = AutoencoderKLWan.load_config(codec)
        side = [length // config["scale_factor_spatial"] for length in clips.cache.frames.shape[1:3]]
        shape = (len(numbers), config["z_dim"], latent_frames(clips.frames, config["scale_factor_temporal"]), *side)
        np.lib.format.open_memmap(part / "latents.npy", mode="w+", dtype=np.float16, shape=shape).flush()
        logger.info("encoding %d clips of %d frames into %s", len(numbers), clips.frames, folder)
        arguments = (workers, clips, list(numbers), str(codec), part)
        if workers == 1:
            _encode_share(0, *arguments)
        else:
            torch.multiprocessing.spawn(_encode_share, arguments, nprocs=workers)
        (part / "index.json").write_text(json.dumps({"numbers": list(numbers)}))
        os.rename(part, folder)
        return cls(folder)


def _digest(clips: ClipSampler, numbers: Sequence[int], codec: Path) -> str:
    """What tells a latent cache from any other: the codec's weights and settings, the frames, and which clips."""
    digest = hashlib.sha256(json.dumps([clips.frames, clips.stride, list(numbers)]).encode())
    for file in sorted(codec.glob("*.json")) + sorted(codec.glob("*.safetensors")):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def _encode_share(worker: int, workers: int, clips: ClipSampler, numbers: list[int], codec: str, part: Path) -> None:
    """Encodes every workers-th batch of clips into the memory map; each process writes rows of its own."""
    if workers > 1:
        torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder = WanCodec(AutoencoderKLWan.from_pretrained(codec).eval().to(device))
    latents = np.lib.format.open_memmap(part / "latents.npy", mode="r+")
    starts = range(worker * CLIPS_AT_ONCE, len(numbers), workers * CLIPS_AT_ONCE)
    for start in tqdm(starts, desc="encoding clips", disable=worker > 0):
        rows = slice(start, start + CLIPS_AT_ONCE)
        pixels = np.stack([clips.clip(number).pixels for number in numbers[rows]])
        video = torch.from_numpy(pixels).permute(0, 4, 1, 2, 3)
        with torch.autocast(device.type, torch.bfloat16):
            latents[rows] = encoder.encode_video(to_unit(video)).cpu().numpy()
    latents.flush()
