"""The trunk of Stage I: any causal language model of transformers, or the text part of a vision-language model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import peft
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    ByT5Tokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from vgen.backbone.on_paper import on_paper
from vgen.errors import InputError, unknown_key
from vgen.models import loading

TRAINED = ("all", "lora", "none")
LORA_TARGETS = r".*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"  # LLaMA's, Qwen's, Mistral's, Gemma's


def new_llama(keywords: Mapping[str, Any]) -> tuple[LlamaForCausalLM, ByT5Tokenizer]:
    """A LLaMA with random weights and byte-level ByT5 tokens, which need no vocabulary file.

    Args:
        keywords: of LlamaConfig.

    Raises:
        InputError: one is not known.
    """
    tokenizer = ByT5Tokenizer()
    known = LlamaConfig().to_dict()
    for key in keywords:
        if key not in known:
            raise unknown_key(key, known, "the keywords of LlamaConfig")
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    return LlamaForCausalLM(LlamaConfig(**{"vocab_size": len(tokenizer)} | ids | dict(keywords))), tokenizer


def load_trunk(folder: str | Path) -> PreTrainedModel:
    """A language or vision-language model of transformers, from its folder, or from that of a LoRA of one; on paper
    as its configuration says, without weights.

    Raises:
        InputError: it is none.
    """
    with loading(folder):
        if (Path(folder) / "adapter_config.json").is_file():
            adapter = peft.PeftConfig.from_pretrained(str(folder))
            trunk = load_trunk(adapter.base_model_name_or_path)
            if on_paper():
                trunk.add_adapter(adapter)
            else:
                trunk.load_adapter(str(folder))
            return trunk
        about = AutoConfig.from_pretrained(folder)
        for kinds, maker in (
            (MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM),
            (MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING, AutoModelForImageTextToText),
        ):
            if type(about) in kinds:
                return maker.from_config(about) if on_paper() else maker.from_pretrained(folder)
    raise InputError(f"{folder} holds a {type(about).__name__}; a causal language or vision-language model is needed")


def load_tokenizer(folder: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder.

    Raises:
        InputError: there is none, or it has no token that ends a text.
    """
    with loading(folder):
        tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.eos_token_id is None:
        raise InputError(f"the tokenizer of {folder} has no eos_token, which ends the text of an action")
    return tokenizer


def choose_trained(trunk: PreTrainedModel, trained: str, rank: int) -> None:
    """Says which weights of a trunk are trained, in float32: of its text part `all`, a `lora` of this rank (or the one
    that it has), or `none`. What is beside the text part, such as a vision tower of its own, is not used.

    Raises:
        InputError: `trained` is none of the three, or the rank is not positive.
    """
    if trained not in TRAINED:
        raise InputError(f"trained={trained} of a trunk is not known; choose one of: {', '.join(TRAINED)}")
    trunk.requires_grad_(False)
    if trained == "all":
        for part in (decoder(trunk), trunk.get_output_embeddings()):
            part.float().requires_grad_(True)
    if trained == "lora":
        if rank < 1:
            raise InputError(f"a LoRA of rank {rank} is not positive; the smallest is 1")
        if not hasattr(trunk, "peft_config"):
            trunk.add_adapter(peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=LORA_TARGETS))
            trunk.requires_grad_(False)  # of a vision tower too, whose layers have the same names
        for name, parameter in decoder(trunk).named_parameters():
            if "lora_" in name:
                parameter.data = parameter.data.float()
                parameter.requires_grad_(True)


def decoder(trunk: PreTrainedModel) -> nn.Module:
    """The text part, which reads embeddings and returns hidden states."""
    reader: nn.Module = trunk.get_decoder()
    return reader


def text_width(trunk: PreTrainedModel) -> int:
    """Width of its embeddings."""
    embeddings: Tensor = trunk.get_input_embeddings().weight
    return embeddings.shape[1]
