"""Text embeddings of captions, made once by a frozen encoder, so that training holds no text encoder."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers.pipelines.wan.pipeline_wan import prompt_clean
from torch import Tensor
from transformers import PreTrainedTokenizerBase, UMT5EncoderModel

from vgen.backbone.text import encode_text
from vgen.data.hashes import folder_sha256
from vgen.data.shares import Encode, run_shares

logger = logging.getLogger(__name__)

TEXTS_AT_ONCE = 8
RECIPE = "bfloat16; 1"  # what decides on an embedding besides encoder, tokenizer and text


class TextCache:
    """Embeddings of captions; only a caption's own tokens are kept, as all behind them is zero.

    Attributes:
        length: tokens that an embedding is padded to.
    """

    def __init__(self, folder: str | Path) -> None:
        """Opens the cache in `folder`."""
        self.folder = Path(folder)
        index = json.loads((self.folder / "index.json").read_text())
        self.length: int = index["length"]
        self._offsets: list[int] = index["offsets"]
        self._rows = {caption: row for row, caption in enumerate(index["captions"])}
        self._tokens = np.load(self.folder / "tokens.npy", mmap_mode="r")

    def __contains__(self, caption: str) -> bool:
        return caption in self._rows

    def __reduce__(self) -> tuple:
        return TextCache, (self.folder,)

    def embedding(self, caption: str) -> Tensor:
        """The embedding [length, D] of a cached caption, bfloat16, zeros behind its tokens."""
        row = self._rows[caption]
        tokens = torch.from_numpy(np.array(self._tokens[self._offsets[row] : self._offsets[row + 1]]))
        padded = torch.zeros(self.length, tokens.shape[1], dtype=torch.bfloat16)
        padded[: len(tokens)] = tokens.view(torch.bfloat16)
        return padded

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
        at the end.

        Args:
            captions: each may come several times.
            text_encoder: the folder of a UMT5EncoderModel; its content is part of the cache's name.
            tokenizer, length: see `encode_text`.
            workers: processes that encode side by side.
        """
        texts = sorted({"", *captions})
        cut = [_token_count(tokenizer, text, length) for text in texts]
        name = f"texts-{_digest(texts, cut, length, folder_sha256(text_encoder, root))}"
        folder = Path(root) / name
        if folder.exists():
            return cls(folder)
        part = folder.with_name(folder.name + ".part")
        part.mkdir(parents=True, exist_ok=True)
        offsets = np.concatenate([[0], np.cumsum(cut)]).astype(np.int64)
        width = json.loads((Path(text_encoder) / "config.json").read_text())["d_model"]
        if not (part / "tokens.npy").exists():
            shape = (int(offsets[-1]), width)
            np.lib.format.open_memmap(part / "tokens.npy", mode="w+", dtype=np.int16, shape=shape).flush()
        logger.info("embedding %d captions into %s", len(texts), folder)
        work = _Embedding(texts, offsets, str(text_encoder), tokenizer, part / "tokens.npy")
        run_shares(part, len(texts), work, TEXTS_AT_ONCE, workers, "embedding captions")
        index = {"length": length, "captions": texts, "offsets": offsets.tolist()}
        (part / "index.json").write_text(json.dumps(index))
        os.rename(part, folder)
        return cls(folder)


def _token_count(tokenizer: PreTrainedTokenizerBase, text: str, length: int) -> int:
    return len(tokenizer(prompt_clean(text), max_length=length, truncation=True).input_ids)


def _digest(texts: Sequence[str], cut: Sequence[int], length: int, encoder: str) -> str:
    """What tells a text cache from any other; the tokenizer, which belongs to the encoder, shows in the counts."""
    text = json.dumps([RECIPE, encoder, length, list(texts), list(cut)])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


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
