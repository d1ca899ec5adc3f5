"""How much memory a run takes, by arithmetic alone: weights, what a step adds to them, activations and codec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from vgen.data.buckets import Bucket
from vgen.train.objectives.outline import Outline

GB = 1e9
FP32, BF16 = 4, 2
MAX_LIVE = 10**9  # weights that DeepSpeed's ZeRO 3 holds gathered at most, unless its JSON says otherwise
BUCKET = 5 * 10**8  # weights in its buffer for exchanging gradients, likewise
CODEC_BYTES = 60  # per pixel of the codec's own grid and base channel; measured on a CPU, with the convolutions' space


@dataclass(frozen=True)
class MemoryUse:
    """Bytes per GPU of what a run holds between its steps and in them, and per GPU's share of the CPU's memory."""

    weights: float
    gradients: float
    optimizer: float
    average: float
    host: float = 0.0

    @property
    def total(self) -> float:
        """On the GPU."""
        return self.weights + self.gradients + self.optimizer + self.average


def model_states(
    trained: int,
    frozen: int,
    gpus: int,
    stage: int,
    offload: str = "none",
    largest: int = 0,
    live: int = MAX_LIVE,
    average: bool = True,
    weight_bytes: int = FP32,
) -> MemoryUse:
    """Bytes of weights, gradients, optimiser and average, at the moment when they are most.

    Per trained weight, with w bytes a weight (4 in vgen: fp32, autocast to bf16) on N GPUs:

    - ZeRO 0: weight w, gradient w, Adam's two moments 8, average 4.
    - ZeRO 1: weight w, gradient w and a flat fp32 copy of the own share 4/N; fp32 master weight and moments 12/N;
      average 4.
    - ZeRO 2: as 1, with the gradient split: (w + 4)/N.
    - ZeRO 3: weight w/N (frozen ones too), gradient 4/N, master weight and moments 12/N, average 4/N; plus w for each
      of the `live` gathered weights and for each gradient of the `largest` layer.

    Offload moves master weights, moments and gradients ("optimizer", ZeRO 1 to 3; ZeRO 1 keeps the gradients) to the
    CPU, and with "all" (ZeRO 3) the weights too. Without frozen weights and average, and w = 2, this is what
    DeepSpeed's own `estimate_zero2_model_states_mem_needs` and `estimate_zero3_model_states_mem_needs` say; those know
    no fp32 weights, no frozen ones, and no average.
    """
    assert offload in ("none", "optimizer", "all"), offload
    share = 1 if stage == 0 else 1 / gpus
    weights: float = weight_bytes * (trained + frozen)
    whole = {0: 1.0, 1: 1.0, 2: share, 3: 0.0}[stage]
    gradients = trained * (weight_bytes * whole + (FP32 * share if stage else 0))
    optimizer = trained * share * (8 if stage == 0 and weight_bytes == FP32 else 12)
    shadow = FP32 * trained * (share if stage == 3 else 1) if average else 0.0
    gathered = 0.0
    if stage == 3:
        weights /= gpus
        gathered = weight_bytes * (max(largest, min(live, trained + frozen)) + largest)
    host = 0.0
    if offload != "none":
        kept = weight_bytes * trained if stage == 1 else 0.0
        host, optimizer, gradients = optimizer + FP32 * trained * share, 0.0, kept
    if offload == "all":
        host, weights = host + weights, 0.0
    return MemoryUse(weights + gathered, gradients, optimizer, shadow, host)


def activations(outline: Outline, batch: int, tokens: int, sequence: int = 1, checkpointing: bool = False) -> float:
    """Bytes that the backbone's blocks keep of a batch for the backward pass, and in it.

    A block of width D with feed-forward width F keeps 59 D + 4 F bytes of each token and 12 D of each token of text
    (bf16 autocast, an attention kernel that keeps no L x L matrix). With checkpointing each block keeps its input, 2 D
    bytes a token, and one block at a time keeps all. `sequence` ranks share the tokens of a sample, not of the text.

    Args:
        batch: samples.
        tokens: of the longest sample, conditions included.
    """
    backbone = outline.backbone
    assert backbone is not None, "without a backbone nothing is estimated"
    width = backbone["num_attention_heads"] * backbone["attention_head_dim"]
    own, text = batch * tokens / sequence, batch * outline.text_tokens
    block = own * (59 * width + 4 * backbone["ffn_dim"]) + text * 12 * width
    if not checkpointing:
        return backbone["num_layers"] * block
    return backbone["num_layers"] * own * BF16 * width + block


def codec_bytes(outline: Outline, bucket: Bucket) -> float:
    """Bytes that the codec needs while it encodes conditions, without its weights."""
    vae: Any = outline.parts["vae"]
    config = vae.config
    grid = bucket.height * bucket.width / (config.patch_size or 1) ** 2
    return CODEC_BYTES * grid * config.base_dim * outline.images


def parameters(part: nn.Module) -> tuple[int, int]:
    """How many of its parameters are trained, and how many frozen."""
    counts = {True: 0, False: 0}
    for parameter in part.parameters():
        counts[parameter.requires_grad] += parameter.numel()
    return counts[True], counts[False]
