"""Model folders put together out of what stages have made, their weights cut into small files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import load_file, save_file
from torch import Tensor

from vgen.backbone.transformer import VideoTransformer
from vgen.models import EGO, STATE

INDEX = "model_index.json"
PIPELINE = ("tokenizer", "text_encoder", "vae", "transformer", "scheduler", INDEX)
SHARD_BYTES = 15_000_000  # so that no file reaches 16 MB
SUFFIX = ".safetensors"
INDEX_SUFFIX = SUFFIX + ".index.json"  # of the file that tells of weights in several files where each is
KEPT = frozenset(VideoTransformer._keep_in_fp32_modules or ())  # modules that a bf16 backbone holds in float32

TRAINED_PARTS = {
    "codec": ("vae",),
    "canvas": tuple(name for name in PIPELINE if name != "vae"),
    "hand": (*(name for name in PIPELINE if name != "vae"), EGO),
    "state": (STATE,),
}
"""By stage, the parts of a model that it makes; others lie in its folder as they were when it began."""

Parts = Mapping[str, Path]
"""Of each part of a model folder, such as `vae` or `model_index.json`, where it is."""


def parts_of(folder: Path, names: Iterable[str] = (*PIPELINE, EGO, STATE)) -> dict[str, Path]:
    """What a folder that a stage has made, or a model, has of these parts of a model."""
    return {name: folder / name for name in names if (folder / name).exists()}


def write_parts(parts: Parts, folder: Path, dtype: torch.dtype | None = None) -> None:
    """Copies parts into a folder, which may be there.

    Args:
        dtype: of the weights, but for those that the backbone keeps in float32; they are then cut into files of less
            than 16 MB, which `from_pretrained` puts together. None: all stays as it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in parts.items():
        if source.is_file():
            shutil.copy2(source, folder / name)
            continue
        shutil.copytree(source, folder / name, dirs_exist_ok=True)
        if dtype is not None:
            for index in sorted((folder / name).rglob("*" + INDEX_SUFFIX)):
                _join(index)
            for file in sorted((folder / name).rglob("*" + SUFFIX)):
                _rewrite(file, dtype, KEPT if name == "transformer" else frozenset())


def _join(index: Path) -> None:
    """Puts weights that are in several files into one, as it is then cut anew."""
    files = {index.with_name(name) for name in json.loads(index.read_text())["weight_map"].values()}
    weights = {key: weight for file in sorted(files) for key, weight in load_file(file).items()}
    for file in (index, *files):
        file.unlink()
    save_file(weights, index.with_name(index.name.removesuffix(".index.json")), metadata={"format": "pt"})


def _rewrite(file: Path, dtype: torch.dtype, kept: frozenset[str]) -> None:
    """Writes a file of weights anew in a type, as several files where it is too large."""
    weights = {name: _cast(name, weight, dtype, kept) for name, weight in load_file(file).items()}
    pattern = file.name.removesuffix(SUFFIX) + "{suffix}" + SUFFIX
    plan = split_torch_state_dict_into_shards(weights, filename_pattern=pattern, max_shard_size=SHARD_BYTES)
    file.unlink()
    for name, keys in plan.filename_to_tensors.items():
        save_file({key: weights[key] for key in keys}, file.with_name(name), metadata={"format": "pt"})
    if plan.is_sharded:
        index = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
        file.with_name(file.name.removesuffix(SUFFIX) + INDEX_SUFFIX).write_text(
            json.dumps(index, indent=2, sort_keys=True) + "\n"
        )


def _cast(name: str, weight: Tensor, dtype: torch.dtype, kept: frozenset[str]) -> Tensor:
    """A weight in a type, but for those of modules that are kept as they are."""
    return weight if not weight.is_floating_point() or kept.intersection(name.split(".")) else weight.to(dtype)
