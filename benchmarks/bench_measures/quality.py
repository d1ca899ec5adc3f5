"""Dimensions of VBench that networks in folders measure (Huang et al., arXiv 2311.17982, section 3.1).

Each looks as VBench's code does. A measure has VBench's name only where its network is of the kind that VBench uses, as
far as its configuration tells; with another it has that network behind its name, and is not to be compared. Left to
tell is whether weights of the right kind are the right ones: their hashes stand in the results.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModel, AutoModelForImageClassification, AutoTokenizer

from bench_measures.completed import Completed, Measure
from bench_measures.encoders import Encoder, vector
from vgen.errors import InputError
from vgen.models import loading

DINO, DINO_MEAN = ("vit", 12, 768, 16), (0.485, 0.456, 0.406)
CLIP_B32, CLIP_L14 = ("clip", 12, 768, 32), ("clip", 24, 1024, 14)
HEADS = ("head.safetensors", "sa_0_4_vit_l_14_linear.pth")
MARKS = 10
"""The best mark of the aesthetic predictor."""
TEXT_FRAMES = 8


@dataclass(frozen=True)
class Judge:
    """A measure with the name of its value and what made it."""

    name: str
    measure: Measure
    told: str


def subject(folder: Path, device: torch.device | str) -> Judge:
    """`subject_consistency`: the mean, over the frames from the second on, of how near each is to the frame before and
    to the first, as the mean of two cosines of at least 0 each. VBench's network is DINO ViT-B/16; whole frames.

    Raises:
        InputError: the folder cannot be read.
    """
    encoder = subject_encoder(folder, device)
    return _judge("subject_consistency", encoder, is_dino(encoder), consistency)


def subject_encoder(folder: Path, device: torch.device | str) -> Encoder:
    """What looks at whole frames for `subject`. Raises: InputError, the folder cannot be read."""
    return Encoder(folder, AutoModel, device, whole=True)


def is_dino(encoder: Encoder) -> bool:
    """Whether this is DINO ViT-B/16, as far as its configuration and the colours it was trained on tell."""
    return encoder.shape == DINO and encoder.prepare.mean == DINO_MEAN


def background(folder: Path, device: torch.device | str) -> Judge:
    """`background_consistency`: as `subject`, with CLIP ViT-B/32, which sees the square in the middle.

    Raises:
        InputError: the folder cannot be read.
    """
    encoder = Encoder(folder, AutoModel, device)
    return _judge("background_consistency", encoder, _is_openai(encoder, CLIP_B32), consistency)


def aesthetic(folder: Path, device: torch.device | str) -> Judge:
    """`aesthetic_quality`: the mean mark of frames, 0 to 1, by a linear head on features of length 1. VBench's is the
    predictor of LAION on CLIP ViT-L/14, whose head lies beside the model as it is published, or as head.safetensors.

    Raises:
        InputError: the folder cannot be read, or has no head that fits.
    """
    encoder = Encoder(folder, AutoModel, device)
    weight, bias = _head(folder)

    def marks(features: Tensor) -> float:
        if features.shape[1] != weight.shape[1]:
            sizes = f"{weight.shape[1]} features, and its network has {features.shape[1]}"
            raise InputError(f"the head in {folder} is of {sizes}; take the head of this network")
        return (features @ weight.T + bias).mean().item() / MARKS

    return _judge("aesthetic_quality", encoder, _is_openai(encoder, CLIP_L14), marks)


def imaging(folder: Path, device: torch.device | str) -> Judge:
    """`imaging_quality` with its network behind the name: the mean of what a network with a single output says of
    frames. VBench's is MUSIQ, which is no model of transformers.

    Raises:
        InputError: the folder cannot be read, or its network has several outputs.
    """
    encoder = Encoder(folder, AutoModelForImageClassification, device)
    outputs = encoder.model.config.num_labels
    if outputs != 1:
        raise InputError(f"{folder} has {outputs} outputs; a network that marks quality has 1")

    @torch.no_grad()
    def marks(completed: Completed) -> dict[str, float]:
        said = [encoder.model(pixel_values=part).logits.float().cpu() for part in encoder.batches(completed.video)]
        return {name: torch.cat(said).mean().item()}

    name = f"imaging_quality_{encoder.suffix}"
    return Judge(name, marks, encoder.told())


def overall(folder: Path, device: torch.device | str) -> Judge:
    """`overall_consistency` with its network behind the name: the cosine of the prompt and of the mean of eight frames,
    each in the middle of an eighth of the video, by a network of pictures and texts. VBench's is ViCLIP, which takes
    the eight together and is no model of transformers. A case without a prompt has none.

    Raises:
        InputError: the folder cannot be read, or its network takes no texts.
    """
    encoder = Encoder(folder, AutoModel, device)
    if not hasattr(encoder.model, "get_text_features"):
        raise InputError(f"{folder} takes no texts; take a network of pictures and texts, such as CLIP")
    with loading(folder):
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    longest = encoder.model.config.get_text_config().max_position_embeddings

    @torch.no_grad()
    def nearness(completed: Completed) -> dict[str, float]:
        if not completed.prompt:
            return {}
        tokens = tokenizer([completed.prompt], truncation=True, max_length=longest, return_tensors="pt")
        text = vector(encoder.model.get_text_features(**tokens.to(encoder.device)))[0]
        video = encoder.features(completed.video[_middles(len(completed.video))]).mean(0)
        return {name: torch.cosine_similarity(video, text, dim=0).item()}

    name = f"overall_consistency_{encoder.suffix}"
    return Judge(name, nearness, encoder.told())


JUDGES: dict[str, tuple[str, Callable[[Path, torch.device | str], Judge]]] = {
    "subject": ("subject_consistency", subject),
    "background": ("background_consistency", background),
    "aesthetic": ("aesthetic_quality", aesthetic),
    "imaging": ("imaging_quality", imaging),
    "overall": ("overall_consistency", overall),
}
"""By the name of a folder of encoders: the dimension of VBench, and what reads the folder."""


def consistency(features: Tensor) -> float:
    """How alike frames are, from features of length 1, `[T, D]`; nan for a single frame."""
    before = (features[1:] * features[:-1]).sum(1).clamp(min=0)
    first = (features[1:] * features[:1]).sum(1).clamp(min=0)
    return ((before + first) / 2).mean().item()


def _judge(name: str, encoder: Encoder, is_vbenchs: bool, value: Callable[[Tensor], float]) -> Judge:
    name = name if is_vbenchs else f"{name}_{encoder.suffix}"

    def measure(completed: Completed) -> dict[str, float]:
        found = value(encoder.features(completed.video))
        return {} if math.isnan(found) else {name: found}

    return Judge(name, measure, encoder.told())


def _is_openai(encoder: Encoder, shape: tuple[str, int, int, int]) -> bool:
    """Whether this is CLIP as OpenAI trained it, whose activation no other one has."""
    return encoder.shape == shape and encoder.vision.hidden_act == "quick_gelu"


def _head(folder: Path) -> tuple[Tensor, Tensor]:
    """The weight `[1, D]` and bias `[1]` of a linear head."""
    file = next((folder / name for name in HEADS if (folder / name).is_file()), None)
    if file is None:
        raise InputError(f"{folder} has no head; put {HEADS[1]} beside the model, or its weight and bias as {HEADS[0]}")
    with loading(file):
        state: dict[str, Any] = (
            load_file(file) if file.suffix == ".safetensors" else torch.load(file, weights_only=True)
        )
        weight, bias = state["weight"].float(), state["bias"].float()
    if weight.ndim != 2 or len(weight) != 1 or bias.shape != (1,):
        raise InputError(f"{file} must hold a weight [1, D] and a bias [1]; it holds {list(weight.shape)}")
    return weight, bias


def _middles(frames: int) -> np.ndarray:
    """The frames in the middle of each eighth."""
    edges = np.linspace(0, frames, TEXT_FRAMES + 1).astype(int)
    return (edges[:-1] + np.maximum(edges[1:] - 1, edges[:-1])) // 2
