"""Text embeddings, as Wan's own pipelines make them, so that a prompt means the same in vgen and in diffusers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from diffusers.pipelines.wan.pipeline_wan import prompt_clean
from torch import Tensor
from transformers import PreTrainedTokenizerBase, UMT5EncoderModel

from vgen import checks

logger = logging.getLogger(__name__)

WAN_TEXT_LENGTH = 512


def text_length(tokenizer: PreTrainedTokenizerBase) -> int:
    """How many tokens the text is padded to: the tokenizer's own limit, at most Wan's 512."""
    limit: int = tokenizer.model_max_length
    return min(limit, WAN_TEXT_LENGTH)


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
    mask: Tensor = tokens.attention_mask
    states: Tensor = text_encoder(tokens.input_ids, mask).last_hidden_state
    return states * mask.to(states.dtype).unsqueeze(-1)


@dataclass(frozen=True)
class Cut:
    """What a model does not read of a text that is too long for it.

    Attributes:
        tokens: of the whole text.
        rest: the end of the text, from the first character that is not read in whole.
    """

    tokens: int
    rest: str


@dataclass(frozen=True)
class TextLimit:
    """How much of a text a model reads. What lies past that has no effect, which is to be told.

    Attributes:
        tokenizer: the model's.
        length: tokens that are read, the `marks` among them.
        reader: the model, as a message names it.
        marks: tokens that are put around each text, such as the one that ends it.
        clean: what is done to a text before it becomes tokens.
    """

    tokenizer: PreTrainedTokenizerBase
    length: int
    reader: str
    marks: int = 0
    clean: Callable[[str], str] = str

    @classmethod
    def of_encoder(cls, tokenizer: PreTrainedTokenizerBase, length: int) -> TextLimit:
        """The limit of `encode_text`."""
        return cls(tokenizer, length, "the text encoder", tokenizer.num_special_tokens_to_add(), prompt_clean)

    def cut(self, text: str) -> Cut | None:
        """What is cut off a text; None where nothing is."""
        text = self.clean(text)
        fast = self.tokenizer.is_fast
        tokens = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=fast, verbose=False)
        total, room = len(tokens.input_ids) + self.marks, self.length - self.marks
        if total <= self.length:
            return None
        begin = tokens.offset_mapping[room][0] if fast else self._characters(text, tokens.input_ids[:room])
        return Cut(total, text[begin:].strip())

    def warn(self, prompts: Iterable[str]) -> None:
        """Tells what is cut off prompts, and which of them hold nothing once they are cleaned; each once per process.

        Raises:
            InputError: one is no text, or not one of UTF-8.
        """
        for prompt in dict.fromkeys(prompts):
            checks.text("prompt", prompt)
            if (self.reader, self.length, prompt) in _told:
                continue
            if prompt and not self.clean(prompt):
                logger.warning("the prompt %r holds no text and counts as none", prompt[:60])
            elif cut := self.cut(prompt):
                line = "the prompt has %d tokens and %s reads %d: what follows is cut off and has no effect: %s"
                logger.warning(line, cut.tokens, self.reader, self.length, _quote(cut.rest))
            else:
                continue
            _told.add((self.reader, self.length, prompt))

    def warn_of_captions(self, captions: Iterable[str]) -> None:
        """Tells in one line how many captions are cut off, and what of one of them."""
        captions = sorted(set(captions))
        cuts = {caption: cut for caption in captions if (cut := self.cut(caption))}
        if cuts:
            caption, cut = next(iter(cuts.items()))
            line = "%d of %d captions have more than the %d tokens that %s reads; of %s (%d tokens) this is cut off: %s"
            about = len(cuts), len(captions), self.length, self.reader
            logger.warning(line, *about, _quote(caption), cut.tokens, _quote(cut.rest))

    def _characters(self, text: str, tokens: Sequence[int]) -> int:
        """How many characters of a text its first tokens hold in whole, for tokenizers that tell no offsets. Blanks do
        not count in the comparison, as decoding drops those beside special tokens."""
        kept = self.tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        left = len("".join(kept.split()))
        for place, character in enumerate(text):
            if not character.isspace():
                if not left:
                    return place
                left -= 1
        return len(text)


_told: set[tuple[str, int, str]] = set()


def _quote(text: str) -> str:
    """A text in quotes, in one line, cut short."""
    shown = checks.show(text)
    return f'"{text}"' if shown == text else shown
