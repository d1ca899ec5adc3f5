"""Text embeddings, as Wan's own pipelines make them, so that a prompt means the same in vgen and in diffusers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers.pipelines.wan.pipeline_wan import prompt_clean
from torch import Tensor
from transformers import PreTrainedTokenizerBase, UMT5EncoderModel

WAN_TEXT_LENGTH = 512


def text_length(tokenizer: PreTrainedTokenizerBase) -> int:
    """How many tokens the text is padded to: the tokenizer's own limit, at most Wan's 512."""
    return min(tokenizer.model_max_length, WAN_TEXT_LENGTH)


def encode_text(
    tokenizer: PreTrainedTokenizerBase,
    text_encoder: UMT5EncoderModel,
    prompts: Sequence[str],
    length: int,
    device: torch.device | None = None,
) -> Tensor:
    """Embeds prompts; what lies past a prompt's own tokens is zero.

    Args:
        prompts: B sentences; "" is the unconditional one of classifier-free guidance.
        length: tokens to pad and cut to.
        device: where the encoder runs, which is not where it lies while it is offloaded.

    Returns:
        [B, length, D], on that device and in the encoder's type.
    """
    tokens = tokenizer(
        [prompt_clean(prompt) for prompt in prompts],
        padding="max_length",
        max_length=length,
        truncation=True,
        return_tensors="pt",
    ).to(device or text_encoder.device)
    states = text_encoder(tokens.input_ids, tokens.attention_mask).last_hidden_state
    return states * tokens.attention_mask.to(states.dtype).unsqueeze(-1)
