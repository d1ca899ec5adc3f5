"""Latents of clips, encoded once by the frozen codec and kept in a memory map: the targets of training."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLWan

from vgen.backbone.codec import WanCodec
from vgen.backbone.precision import autocast
from vgen.backbone.shapes import latent_frames
from vgen.data.clips import Clips
from vgen.data.hashes import folder_sha256
from vgen.data.shares import Encode, run_shares
from vgen.errors import InputError
from vgen.media.pixels import to_unit
from vgen.media.video import READING

logger = logging.getLogger(__name__)

CLIPS_AT_ONCE = 4
# What decides on a latent besides codec, clip and bucket; part of a cache's name, to be changed with the code.
RECIPE = "cover, centre; bfloat16 autocast or float32; float16; 3"


class LatentCache:
    """Latents of clips of one bucket.

    Attributes:
        latents: float16 [N, C, F, h, w], normalised, memory-mapped.
        bad: rows whose video could not be decoded, each with the reason; their latents mean nothing.
    """

    def __init__(self, folder: str | Path) -> None:
        """Opens the cache in `folder`."""
        self.folder = Path(folder)
        index = json.loads((self.folder / "index.json").read_text())
        self.bad = {int(row): reason for row, reason in index["bad"].items()}
        self.latents = np.load(self.folder / "latents.npy", mmap_mode="r")

    def __len__(self) -> int:
        """N, the number of cached clips, bad ones included."""
        return len(self.latents)

    def __reduce__(self) -> tuple:
        return LatentCache, (self.folder,)

    @classmethod
    def of_clips(
        cls, clips: Clips, numbers: Sequence[int], codec: str | Path, root: str | Path, workers: int = 1
    ) -> LatentCache:
        """The cache of some clips, encoded now unless a folder below `root` holds it already. A broken encoding goes on
        where it stopped.

        Args:
            clips: where the clips are cut.
            numbers: which of them, one or more, all of one bucket. Row k of the cache is clip `numbers[k]`.
            codec: the diffusers folder of the AutoencoderKLWan. Its content is part of the cache's name, as is all
                that decides on the pixels.
            workers: processes that encode side by side.
        """
        bucket = clips.bucket(numbers[0])
        assert all(clips.bucket(number) == bucket for number in numbers), "clips of several buckets in one cache"
        name = f"{clips.footage.name}-{bucket}-latents-{_digest(clips, numbers, folder_sha256(codec, root))}"
        folder = Path(root) / name
        if folder.exists():
            return cls(folder)
        part = folder.with_name(folder.name + ".part")
        part.mkdir(parents=True, exist_ok=True)
        config = AutoencoderKLWan.load_config(codec)
        side = [length // config["scale_factor_spatial"] for length in bucket.size]
        shape = (len(numbers), config["z_dim"], latent_frames(bucket.frames, config["scale_factor_temporal"]), *side)
        if not (part / "latents.npy").exists():
            np.lib.format.open_memmap(part / "latents.npy", mode="w+", dtype=np.float16, shape=shape).flush()
        logger.info("encoding %d clips of %s into %s", len(numbers), bucket, folder)
        work = _Encoding(clips, list(numbers), str(codec), part / "latents.npy")
        bad = run_shares(part, len(numbers), work, CLIPS_AT_ONCE, workers, f"encoding clips of {bucket}")
        (part / "index.json").write_text(json.dumps({"bad": bad}))
        os.rename(part, folder)
        return cls(folder)


def _digest(clips: Clips, numbers: Sequence[int], codec: str) -> str:
    """What tells a latent cache from any other: the codec, and the frames of which videos."""
    frames = [[clips.episode(n).key, clips.episode(n).fps, clips.start(n)] for n in numbers]
    text = json.dumps([RECIPE, READING, codec, str(clips.bucket(numbers[0])), clips.fps, frames])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class _Encoding:
    """The work of a process: see `Work`."""

    clips: Clips
    numbers: list[int]
    codec: str
    latents: Path

    def open(self, device: torch.device) -> Encode:
        encoder = WanCodec(AutoencoderKLWan.from_pretrained(self.codec).eval().to(device))
        latents = np.lib.format.open_memmap(self.latents, mode="r+")

        def encode(rows: Sequence[int]) -> dict[int, str]:
            pixels, bad = {}, {}
            for row in rows:
                try:
                    pixels[row] = self.clips.pixels(self.numbers[row])
                except InputError as error:
                    bad[row] = str(error)
            if pixels:
                video = torch.from_numpy(np.stack(list(pixels.values()))).permute(0, 4, 1, 2, 3)
                with autocast(device.type):
                    latents[list(pixels)] = encoder.encode_video(to_unit(video)).cpu().numpy()
                latents.flush()
            return bad

        return encode
