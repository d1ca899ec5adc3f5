"""Objects in frames by a segmentation network, given by its folder."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench_sets.objects import LARGEST, SMALLEST
from vgen import checks
from vgen.data.cache.hashes import folder_sha256
from vgen.errors import InputError

SEEDS_A_SIDE = 16  # points that a network which asks for points is given, along each side
logger = logging.getLogger(__name__)


class Segmenter:
    """Objects by a network of `transformers`: image segmentation of any kind, or mask generation as by SAM.

    Of the masks of a frame the largest is taken that is no smaller and no larger than an object may be; see `objects`.

    Args:
        folder: with `config.json`, the weights and `preprocessor_config.json`.

    Raises:
        InputError: it holds no such network.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / "config.json").is_file():
            why = "it holds no config.json" if folder.is_dir() else "it is no folder"
            raise InputError(f"--segmenter {checks.show(folder)} is no segmentation model of transformers: {why}")
        self.name = f"segmenter {folder.resolve().name}"
        self.sha256 = folder_sha256(folder, "")
        self._pipeline = _pipeline(folder)

    def find(self, clip: np.ndarray, frame: int) -> np.ndarray | None:
        """See `objects.ObjectFinder`."""
        masks = [mask for mask in self._masks(clip[frame]) if SMALLEST <= mask.mean() <= LARGEST]
        return max(masks, key=lambda mask: int(mask.sum()), default=None)

    def _masks(self, image: np.ndarray) -> list[np.ndarray]:
        picture = Image.fromarray(image)
        if self._pipeline.task == "mask-generation":
            found = self._pipeline(picture, points_per_crop=SEEDS_A_SIDE)["masks"]
            return [np.asarray(mask, bool) for mask in found]
        return [np.asarray(piece["mask"]) > 127 for piece in self._pipeline(picture)]


def _pipeline(folder: Path) -> Any:
    from transformers import MODEL_FOR_MASK_GENERATION_MAPPING, AutoConfig, pipeline

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        task = "mask-generation" if type(config) in MODEL_FOR_MASK_GENERATION_MAPPING else "image-segmentation"
        return pipeline(task, model=str(folder))
    except (OSError, ValueError, KeyError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"--segmenter {folder} is no segmentation model of transformers: {reason[:200]}") from error
