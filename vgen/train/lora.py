"""LoRA of a Wan transformer: put in, and written under the names that diffusers, ComfyUI and kohya's scripts read."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import peft
import torch
from diffusers import WanTransformer3DModel
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor

from vgen.backbone.lora_names import LAYERS
from vgen.canvas.pipeline import CanvasPipeline
from vgen.checks import show, within
from vgen.errors import InputError, unknown_key
from vgen.files import whole_file, writing
from vgen.models import loading

NAMINGS = ("diffusers", "comfyui", "kohya")

logger = logging.getLogger(__name__)


@dataclass
class LoraConfig:
    """A LoRA of the transformer's blocks: W + (alpha / rank) B A. Rank 0 is none: then all weights are trained."""

    rank: int = 0
    alpha: float | None = within(None, 0.001)  # None: as rank
    targets: list[str] = field(default_factory=lambda: list(LAYERS))  # layers of each block, or their last parts: to_q
    dropout: float = 0.0  # of what goes into A


def add_lora(transformer: WanTransformer3DModel, config: LoraConfig) -> None:
    """Freezes a transformer and puts a LoRA into it, whose weights are fp32 and change nothing yet.

    Raises:
        InputError: a target is no layer of the blocks, or a number is out of range.
    """
    if config.rank < 1:
        raise InputError(f"objective.lora.rank={config.rank} is not positive; the smallest is 1")
    if not 0 <= config.dropout < 1:
        raise InputError(f"objective.lora.dropout={config.dropout} is not in [0, 1)")
    layers = [layer for target in config.targets for layer in _layers(target)]
    if not layers:
        raise InputError(f"objective.lora.targets=[] names no layer to adapt; known: {', '.join(LAYERS)}")
    transformer.requires_grad_(False)
    alpha = config.rank if config.alpha is None else config.alpha
    transformer.add_adapter(
        peft.LoraConfig(r=config.rank, lora_alpha=alpha, target_modules=layers, lora_dropout=config.dropout)
    )
    for parameter in transformer.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def _layers(target: str) -> list[str]:
    layers = [layer for layer in LAYERS if f".{layer}".endswith(f".{target}")]
    if not layers:
        raise unknown_key(target, list(LAYERS), "objective.lora.targets")
    return layers


def save_lora(transformer: WanTransformer3DModel, folder: Path) -> None:
    """Writes the LoRA in a transformer, as diffusers names it. Under ZeRO 3 its weights must be gathered."""
    weights = get_peft_model_state_dict(transformer)
    assert all(weight.numel() for weight in weights.values()), "weights that ZeRO 3 has split are empty here"
    metadata = transformer.peft_config["default"].to_dict()
    CanvasPipeline.save_lora_weights(folder, weights, transformer_lora_adapter_metadata=metadata)


def has_lora(folder: Path) -> bool:
    """Whether a folder holds a LoRA that `save_lora` wrote."""
    return (folder / "pytorch_lora_weights.safetensors").exists()


def rename_lora(folder: Path, file: Path, naming: str, dtype: torch.dtype) -> None:
    """Writes a LoRA once more, as one safetensors file under other names.

    Args:
        folder: where `save_lora` wrote it.
        file: what to write.
        naming: "diffusers" (`transformer.blocks.0.attn1.to_q.lora_A.weight`; rank and alpha in the file's metadata),
            "comfyui" (`diffusion_model.blocks.0.self_attn.q.lora_down.weight`, `.lora_up.weight`, `.alpha`) or "kohya"
            (`lora_unet_blocks_0_self_attn_q.lora_down.weight` ..., as musubi-tuner). vgen loads all three,
            and so does diffusers, but the last only where all ten layers of every block are there.
        dtype: of the weights.

    Raises:
        InputError: the folder's file is damaged, or another program's.
    """
    with loading(folder):
        weights, metadata = CanvasPipeline.lora_state_dict(folder, return_lora_metadata=True)
        weights = {name: weight.to(dtype).contiguous() for name, weight in weights.items()}
        rank, alpha = int(metadata["transformer.r"]), float(metadata["transformer.lora_alpha"])
    for name in weights:
        layer = re.fullmatch(r"transformer\.blocks\.\d+\.(.+)\.lora_[AB]\.weight", name)
        if layer is None or layer[1] not in LAYERS:
            raise InputError(f"{folder} holds {show(name)}, which is no weight of a LoRA that a run writes")
    if naming == "kohya" and len(weights) < 2 * len(LAYERS) * len({name.split(".")[2] for name in weights}):
        logger.warning("%s lacks some layers of its blocks: ComfyUI loads that, diffusers only in other namings", file)
    if naming == "diffusers":
        about = {LORA_ADAPTER_METADATA_KEY: json.dumps(metadata, sort_keys=True)}
    else:
        weights = dict(_renamed(weights, alpha, naming))
        about = {"ss_network_dim": str(rank), "ss_network_alpha": f"{alpha:g}"}
    with writing(file, kept=""):
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as aside, writing(file, kept="", folder=file.parent):
            save_file(weights, aside, {"format": "pt", **about})


def _renamed(weights: dict[str, Tensor], alpha: float, naming: str) -> Iterator[tuple[str, Any]]:
    """Names and weights of the other two namings, and the alpha of each layer."""
    for name, weight in weights.items():
        _, _, block, *layer, matrix, _ = name.split(".")  # transformer.blocks.0.attn1.to_q.lora_A.weight
        wan = f"blocks.{block}.{LAYERS['.'.join(layer)]}"
        stem = f"diffusion_model.{wan}" if naming == "comfyui" else f"lora_unet_{wan.replace('.', '_')}"
        yield f"{stem}.{'lora_down' if matrix == 'lora_A' else 'lora_up'}.weight", weight
        yield f"{stem}.alpha", torch.tensor(alpha, dtype=weight.dtype)
