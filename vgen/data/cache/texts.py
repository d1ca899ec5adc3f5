"""Text embeddings of captions, made once by a frozen encoder, so that training holds no text encoder."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.wan.pipeline_wan import prompt_clean
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, UMT5EncoderModel
from transformers.modeling_outputs import BaseModelOutput

from vgen import checks
from vgen.backbone.text import TextLimit, encode_text
from vgen.data.cache.hashes import folder_sha256
from vgen.data.cache.shard import Damaged
from vgen.data.cache.store import Encode, Item, Store, stopped
from vgen.errors import InputError
from vgen.models import loading, read_config

logger = logging.getLogger(__name__)

TEXTS = "texts"  # folder, in that of the caches, of a folder for each encoder
TEXTS_AT_ONCE = 8
RECENT = 1024  # embeddings that stay in memory once they are read
RECIPE = "bfloat16; 2"  # what decides on an embedding besides encoder, tokenizer and text


class TextCache:
    """Embeddings of captions, found by the captions' tokens; what lies behind those is zero and not kept.

    Args:
        store: where they are kept, with those of other captions.
        keys: of those that are looked for.
    """

    def __init__(self, store: Store, keys: Sequence[str]) -> None:
        self.folder, self._store, self._keys = store.folder, store, frozenset(keys)
        self._read = lru_cache(RECENT)(store.read)

    def __reduce__(self) -> tuple[Any, ...]:
        return TextCache, (self._store, sorted(self._keys))

    def __len__(self) -> int:
        """The number of embeddings."""
        return len(self._keys)

    def states(self, tokens: Sequence[int]) -> Tensor:
        """The states [tokens, D], bfloat16, of the caption that has these tokens.

        Raises:
            InputError: no cached caption has them.
            TryAgain: they are not what was written any more.
        """
        key = _key(tokens)
        if key not in self._keys:
            raise InputError(f"{self.folder} holds no embedding of a text of {len(tokens)} tokens")
        try:
            return torch.from_numpy(self._read(key)).view(torch.bfloat16)
        except Damaged as error:
            raise stopped(f"the embedding of a text of {len(tokens)} tokens", error) from error

    @classmethod
    def of_captions(
        cls,
        captions: Sequence[str],
        text_encoder: str | Path,
        tokenizer: PreTrainedTokenizerBase,
        length: int,
        root: str | Path,
        workers: int = 1,
    ) -> TextCache:
        """The embeddings of some captions and of the empty one. Those that are not kept below `root`, or are broken
        there, are made now; a broken encoding goes on where it stopped. The encoder is loaded for it in bfloat16, as
        Wan's is used, and gone at the end. Captions that are longer than what is encoded are told in one line.

        Args:
            captions: each may come several times.
            text_encoder: the folder of a UMT5EncoderModel; its content is part of the cache's name.
            tokenizer, length: see `encode_text`.
            workers: processes that encode side by side.

        Raises:
            InputError: an embedding is not finite; or see `Store.fill`, as for RunStopped.
        """
        texts = sorted({"", *captions})
        TextLimit.of_encoder(tokenizer, length).warn_of_captions(captions)
        cut = [tokenizer(prompt_clean(text), max_length=length, truncation=True).input_ids for text in texts]
        keys = [_key(tokens) for tokens in cut]
        digest = hashlib.sha256(json.dumps([RECIPE, folder_sha256(text_encoder, root)]).encode()).hexdigest()
        width = read_config(str(text_encoder), "config.json")["d_model"]
        store = Store(Path(root) / TEXTS / digest[:12], width * torch.bfloat16.itemsize)
        items = [Item(key, len(tokens)) for key, tokens in zip(keys, cut, strict=True)]
        work = _Embedding(texts, [item.blocks for item in items], str(text_encoder), tokenizer)
        store.fill(items, work, TEXTS_AT_ONCE, workers, "embedding captions")
        for text, key in zip(texts, keys, strict=True):
            if key in store.bad:
                raise InputError(f"caption {checks.show(text)}: {store.bad[key]}; say it in other words")
        return cls(store, keys)


class CachedTextEncoder(nn.Module):
    """Stands where a frozen UMT5EncoderModel would, and answers from a cache, for the captions in it alone.

    Args:
        folder: of the encoder that it stands for.

    Attributes:
        cache: to be given before the first call.
    """

    dtype = torch.bfloat16

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.cache: TextCache | None = None
        self.register_buffer("_place", torch.empty(0), persistent=False)  # goes where the module is sent

    @property
    def device(self) -> torch.device:
        """Where the states are put."""
        device: torch.device = self.get_buffer("_place").device
        return device

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> BaseModelOutput:
        """States [B, L, D] of tokens [B, L], zeros where the mask is 0.

        Raises:
            InputError: a text is not in the cache.
        """
        assert self.cache is not None, "the encoder stands for a cache that it has not got"
        lengths = attention_mask.sum(1).tolist()
        rows = [self.cache.states(ids[:n]) for ids, n in zip(input_ids.tolist(), lengths, strict=True)]
        states = torch.zeros(*input_ids.shape, rows[0].shape[1], dtype=self.dtype)
        for state, row in zip(states, rows, strict=True):
            state[: len(row)] = row
        return BaseModelOutput(last_hidden_state=states.to(input_ids.device))

    def save_pretrained(self, folder: str | Path) -> None:
        """Puts the files of the encoder that it stands for into a folder: as links where the disk allows it."""
        shutil.copytree(self.folder, folder, copy_function=_link, dirs_exist_ok=True)


def _link(source: str, target: str) -> None:
    Path(target).unlink(missing_ok=True)
    if not source.endswith(".json"):  # such a one may be edited in the folder that it is put into
        with suppress(OSError):  # another disk, or one that has no links
            os.link(os.path.realpath(source), target)
            return
    shutil.copy2(source, target)


def _key(tokens: Sequence[int]) -> str:
    return hashlib.sha256(np.asarray(tokens, dtype="<i8").tobytes()).hexdigest()[:32]


@dataclass(frozen=True)
class _Embedding:
    """The work of a process: see `Work`."""

    texts: list[str]
    lengths: list[int]  # of these in tokens
    text_encoder: str
    tokenizer: PreTrainedTokenizerBase

    def open(self, device: torch.device) -> Encode:
        with loading(self.text_encoder):
            encoder = UMT5EncoderModel.from_pretrained(self.text_encoder, dtype=torch.bfloat16).eval().to(device)

        @torch.no_grad()
        def encode(places: Sequence[int]) -> dict[int, np.ndarray | str]:
            lengths = [self.lengths[place] for place in places]
            states = encode_text(self.tokenizer, encoder, [self.texts[place] for place in places], max(lengths))
            made = [state[:length].to(torch.bfloat16).cpu() for state, length in zip(states, lengths, strict=True)]
            return {
                place: state.view(torch.int16).numpy() if state.isfinite().all() else "its embedding is not finite"
                for place, state in zip(places, made, strict=True)
            }

        return encode
