"""Latents of clips, encoded once by the frozen codec and kept by clip: the targets of training."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLWan

from vgen.backbone.codec import WanCodec, load_vae
from vgen.backbone.precision import autocast
from vgen.backbone.shapes import latent_frames
from vgen.data.buckets import Bucket
from vgen.data.cache.hashes import folder_sha256
from vgen.data.cache.shard import Damaged
from vgen.data.cache.store import Encode, Item, Store, stopped
from vgen.data.clips import Clips
from vgen.errors import InputError
from vgen.media.pixels import to_unit
from vgen.media.video import READING

logger = logging.getLogger(__name__)

LATENTS = "latents"  # folder, in that of the caches, of a folder for each codec and bucket
CLIPS_AT_ONCE = 4
GPU_VALUES = 1 << 25  # of the codec's first layer, that a GPU holds at once: of nano 60 clips of 17 frames of 128x128
# What decides on a latent besides codec, clip, bucket and how many are encoded at once; part of a cache's name, to be
# changed with the code.
RECIPE = "cover, centre; bfloat16 autocast or float32; float16; "


class LatentCache:
    """Latents of clips of one bucket.

    Attributes:
        folder: where they are kept, with those of other clips.
        bad: rows whose video could not be decoded or whose latent is not finite, each with the reason.
    """

    def __init__(
        self, store: Store, shape: Sequence[int], clips: Clips, numbers: Sequence[int], keys: Sequence[str]
    ) -> None:
        """Row k is clip `numbers[k]`, whose latent of `shape` [C, F, h, w] the store has by `keys[k]`."""
        self.folder, self.shape = store.folder, tuple(shape)
        self._store, self._clips, self._numbers, self._keys = store, clips, list(numbers), list(keys)
        self.bad = {row: store.bad[key] for row, key in enumerate(keys) if key in store.bad}
        self._held: np.ndarray | None = None

    def hold(self) -> None:
        """Reads all latents into memory."""
        held = np.zeros((len(self), *self.shape), np.float16)
        for row in range(len(self)):
            if row not in self.bad:
                held[row] = self[row]
        self._held = held

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Latents of rows [...] that are not bad: float16 [..., C, F, h, w].

        Raises:
            TryAgain: see `__getitem__`.
        """
        if self._held is not None:
            held: np.ndarray = self._held[rows]
            return held
        return np.stack([self[row] for row in rows.ravel().tolist()]).reshape(*rows.shape, *self.shape)

    def __len__(self) -> int:
        """N, the number of clips, bad ones included."""
        return len(self._keys)

    def __getitem__(self, row: int) -> np.ndarray:
        """The latent of a row that is not bad: float16 [C, F, h, w], normalised and finite.

        Raises:
            TryAgain: it is not what was written any more.
        """
        try:
            return self._store.read(self._keys[row]).view(np.float16).reshape(self.shape)
        except Damaged as error:
            raise stopped(f"the latent of {self._clips.called(self._numbers[row])}", error) from error

    @classmethod
    def of_clips(
        cls, clips: Clips, numbers: Sequence[int], codec: str | Path, root: str | Path, workers: int = 1
    ) -> LatentCache:
        """The latents of some clips. Those that are not kept below `root`, or are broken there, are encoded now; a clip
        is known by the content of its video. A broken encoding goes on where it stopped.

        Args:
            clips: where the clips are cut.
            numbers: which of them, one or more, all of one bucket. Row k of the cache is clip `numbers[k]`.
            codec: the diffusers folder of the AutoencoderKLWan. Its content is part of the cache's name, as is all
                that decides on the pixels.
            workers: processes that encode side by side.

        Raises:
            InputError, RunStopped: see `Store.fill`.
        """
        bucket = clips.bucket(numbers[0])
        assert all(clips.bucket(number) == bucket for number in numbers), "clips of several buckets in one cache"
        config = AutoencoderKLWan.load_config(codec)
        side = [length // config["scale_factor_spatial"] for length in bucket.size]
        shape = (config["z_dim"], latent_frames(bucket.frames, config["scale_factor_temporal"]), *side)
        at_once, chunked = clips_at_once(bucket, config)
        content = json.dumps(
            [f"{RECIPE}{at_once}{' in chunks' if chunked else ''}", READING, folder_sha256(codec, root), str(bucket)]
        )
        name = f"{bucket}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
        store = Store(Path(root) / LATENTS / name, int(np.prod(shape)) * np.dtype(np.float16).itemsize)
        keys = [clips.key(number) for number in numbers]
        work = _Encoding(clips, list(numbers), str(codec), chunked)
        store.fill([Item(key) for key in keys], work, at_once, workers, f"encoding clips of {bucket}")
        return cls(store, shape, clips, numbers, keys)


def clips_at_once(bucket: Bucket, codec: Mapping[str, Any]) -> tuple[int, bool]:
    """How many clips of a bucket are encoded at once, and whether in chunks of four frames, which takes less memory: on
    a CPU few, in chunks; on a GPU as many as keep it busy, and large clips of a wide codec alone and in chunks.

    Args:
        bucket: of the clips.
        codec: the configuration of the AutoencoderKLWan.
    """
    if not torch.cuda.is_available():
        return CLIPS_AT_ONCE, False  # of the CPU's codec nothing is at once
    pixels = bucket.frames * bucket.height * bucket.width
    values = pixels * codec["base_dim"] // (codec.get("patch_size") or 1) ** 2
    count = GPU_VALUES // values
    return max(1, count), not count


@dataclass(frozen=True)
class _Encoding:
    """The work of a process: see `Work`."""

    clips: Clips
    numbers: list[int]
    codec: str
    chunked: bool

    def open(self, device: torch.device) -> Encode:
        encoder = WanCodec(load_vae(self.codec).to(device), at_once=device.type != "cpu" and not self.chunked)

        def encode(places: Sequence[int]) -> dict[int, np.ndarray | str]:
            video, kept, found = self._read(places)
            if video is not None:
                with autocast(device.type):  # bytes travel to the device, a quarter of what they are there
                    made = encoder.encode_video(to_unit(video.to(device).permute(0, 4, 1, 2, 3))).cpu().numpy()
                with np.errstate(over="ignore"):  # what is too large for float16 is not finite
                    latents = made.astype(np.float16)
                for place, latent in zip(kept, latents, strict=True):
                    found[place] = latent if np.isfinite(latent).all() else self._fault(place)
            return found

        return encode

    def _read(self, places: Sequence[int]) -> tuple[torch.Tensor | None, list[int], dict[int, np.ndarray | str]]:
        """Clips uint8 [B, T, H, W, 3], their places, and of the others why they cannot be decoded."""
        numbers = np.array([self.numbers[place] for place in places])
        frames = np.arange(self.clips.bucket(self.numbers[0]).frames)
        held = self.clips.take(numbers, np.tile(frames, (len(places), 1)))
        if held is not None:
            return held, list(places), {}
        pixels: dict[int, np.ndarray] = {}
        found: dict[int, np.ndarray | str] = {}
        for place in places:
            try:
                pixels[place] = self.clips.pixels(self.numbers[place])
            except InputError as error:
                found[place] = str(error)
        video = torch.from_numpy(np.stack(list(pixels.values()))) if pixels else None
        return video, list(pixels), found

    def _fault(self, place: int) -> str:
        return f"its latent is not finite, from frame {self.clips.start(self.numbers[place])} on"
