"""Text embeddings of captions, made once by a frozen encoder, so that training holds no text encoder."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers.pipelines.wan.pipeline_wan import prompt_clean
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, UMT5EncoderModel
from transformers.modeling_outputs import BaseModelOutput

from vgen.backbone.text import TextLimit, encode_text
from vgen.data.hashes import folder_sha256
from vgen.data.shares import Encode, run_shares
from vgen.errors import InputError

logger = logging.getLogger(__name__)

TEXTS_AT_ONCE = 8
RECIPE = "bfloat16; 1"  # what decides on an embedding besides encoder, tokenizer and text


class TextCache:
    """Embeddings of captions, found by the captions' tokens; what lies behind those is zero and not kept."""

    def __init__(self, folder: str | Path) -> None:
        """Opens the cache in `folder`."""
        self.folder = Path(folder)
        index = json.loads((self.folder / "index.json").read_text())
        self._offsets: list[int] = index["offsets"]
        self._rows = {key: row for row, key in enumerate(index["keys"])}
        self._tokens = np.load(self.folder / "tokens.npy", mmap_mode="r")

    def __len__(self) -> int:
        """The number of embeddings."""
        return len(self._rows)

    def __reduce__(self) -> tuple:
        return TextCache, (self.folder,)

    def states(self, tokens: Sequence[int]) -> Tensor:
        """The states [tokens, D], bfloat16, of the caption that has these tokens.

        Raises:
            InputError: no cached caption has them.
        """
        row = self._rows.get(_key(tokens))
        if row is None:
            raise InputError(f"{self.folder} holds no embedding of a text of {len(tokens)} tokens")
        part = np.array(self._tokens[self._offsets[row] : self._offsets[row + 1]])
        return torch.from_numpy(part).view(torch.bfloat16)

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
        """The cache of some captions and of the empty one, made now unless a folder below `root` holds it already. A
        broken encoding goes on where it stopped. The encoder is loaded for it in bfloat16, as Wan's is used, and gone
        at the end. Captions that are longer than what is encoded are told in one line.

        Args:
            captions: each may come several times.
            text_encoder: the folder of a UMT5EncoderModel; its content is part of the cache's name.
            tokenizer, length: see `encode_text`.
            workers: processes that encode side by side.
        """
        texts = sorted({"", *captions})
        TextLimit.of_encoder(tokenizer, length).warn_of_captions(captions)
        cut = [tokenizer(prompt_clean(text), max_length=length, truncation=True).input_ids for text in texts]
        keys = [_key(tokens) for tokens in cut]
        digest = hashlib.sha256(json.dumps([RECIPE, folder_sha256(text_encoder, root), keys]).encode()).hexdigest()
        folder = Path(root) / f"texts-{digest[:12]}"
        if folder.exists():
            return cls(folder)
        part = folder.with_name(folder.name + ".part")
        part.mkdir(parents=True, exist_ok=True)
        offsets = np.concatenate([[0], np.cumsum([len(tokens) for tokens in cut])]).astype(np.int64)
        width = json.loads((Path(text_encoder) / "config.json").read_text())["d_model"]
        if not (part / "tokens.npy").exists():
            shape = (int(offsets[-1]), width)
            np.lib.format.open_memmap(part / "tokens.npy", mode="w+", dtype=np.int16, shape=shape).flush()
        logger.info("embedding %d captions into %s", len(texts), folder)
        work = _Embedding(texts, offsets, str(text_encoder), tokenizer, part / "tokens.npy")
        run_shares(part, len(texts), work, TEXTS_AT_ONCE, workers, "embedding captions")
        (part / "index.json").write_text(json.dumps({"keys": keys, "offsets": offsets.tolist()}))
        os.rename(part, folder)
        return cls(folder)


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
        self.folder, self.cache = Path(folder), None
        self.register_buffer("_place", torch.empty(0), persistent=False)  # goes where the module is sent

    @property
    def device(self) -> torch.device:
        """Where the states are put."""
        return self._place.device

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
        return BaseModelOutput(last_hidden_state=states.to(self.device))

    def save_pretrained(self, folder: str | Path) -> None:
        """Puts the files of the encoder that it stands for into a folder: as links where the disk allows it."""
        shutil.copytree(self.folder, folder, copy_function=_link, dirs_exist_ok=True)


def _link(source: str, target: str) -> None:
    Path(target).unlink(missing_ok=True)
    try:
        os.link(os.path.realpath(source), target)
    except OSError:  # another disk, or one that has no links
        shutil.copy2(source, target)


def _key(tokens: Sequence[int]) -> str:
    return hashlib.sha256(np.asarray(tokens, dtype="<i8").tobytes()).hexdigest()[:32]


@dataclass(frozen=True)
class _Embedding:
    """The work of a process: see `Work`."""

    texts: list[str]
    offsets: np.ndarray
    text_encoder: str
    tokenizer: PreTrainedTokenizerBase
    tokens: Path

    def open(self, device: torch.device) -> Encode:
        encoder = UMT5EncoderModel.from_pretrained(self.text_encoder, dtype=torch.bfloat16).eval().to(device)
        tokens = np.lib.format.open_memmap(self.tokens, mode="r+")

        @torch.no_grad()
        def encode(rows: Sequence[int]) -> dict[int, str]:
            longest = max(int(self.offsets[row + 1] - self.offsets[row]) for row in rows)
            states = encode_text(self.tokenizer, encoder, [self.texts[row] for row in rows], longest)
            for row, state in zip(rows, states.to(torch.bfloat16).cpu(), strict=True):
                begin, end = int(self.offsets[row]), int(self.offsets[row + 1])
                tokens[begin:end] = state[: end - begin].view(torch.int16).numpy()
            tokens.flush()
            return {}

        return encode
