"""What a model reads for the prompt of a canvas that has none, or hardly any of whose words it knows.

A model whose captions say what moves ("the camera pans left over a photograph") takes an empty prompt for any of these,
and a picture alone then dissolves into the mean of all; so it does with words that the model does not know. Such a
model says in its index, as `default_prompt`, what its captions call a picture in which nothing moves. It is read where
one picture alone is given, or two, each whole and at a frame of its own. More of them, clips and parts of frames tell
what moves: there an empty prompt is as good or better (docs/results.md).
"""

from __future__ import annotations

from collections.abc import Collection

from vgen.canvas.placed import PlacedCanvas
from vgen.checks import show
from vgen.media.placing import PlacedClip
from vgen.models.words import meaning_words, unseen_words

MOST_PICTURES = 2  # that leave open what moves
LEAST_KNOWN = 1 / 3  # of the words of a prompt: to say what moves takes about three


def read_prompt(placed: PlacedCanvas, default: str, words: Collection[str] | None = None) -> str:
    """The prompt of a canvas as a model reads it.

    Args:
        placed: the canvas. Its own prompt is read where it is "", or the model knows `LEAST_KNOWN` of its words.
        default: the model's `default_prompt`; "" is none.
        words: of the captions that it was trained on; None: it may know any.
    """
    own = placed.canvas.prompt
    says_nothing = own is None or (words is not None and _hardly_known(own, words))
    return default if default and says_nothing and pictures_alone(placed) else placed.prompt


def prompt_line(own: str | None, read: str, words: Collection[str] | None, model: str) -> str:
    """Tells, in one line, that a model reads something else than the prompt of a canvas; "" where it does not.

    Args:
        own: the prompt of the canvas.
        read: what `read_prompt` says.
        words: as of `read_prompt`.
        model: its name.
    """
    if read == (own or ""):
        return ""
    if own is None:
        why = f"without a prompt {model} reads"
    else:
        unseen, count = unseen_words(own, words or ()), len(meaning_words(own))
        why = f'{model} knows {count - len(unseen)} of the {count} words of "{show(own)}" and reads'
    others = 'say what moves with --prompt, in Python prompt=; "" says nothing'
    return f'{why} "{show(read)}", its own words for one picture or two; {others}'


def _hardly_known(text: str, words: Collection[str]) -> bool:
    """Whether fewer than `LEAST_KNOWN` of the words of a text that mean something are in some form among others."""
    return len(unseen_words(text, words)) > (1 - LEAST_KNOWN) * len(meaning_words(text))


def pictures_alone(placed: PlacedCanvas) -> bool:
    """Whether all that is given is a picture, or two, each whole and at a frame of its own."""
    whole = all(not isinstance(each, PlacedClip) and bool((each.mask == 1).all()) for each in placed.conditions)
    one_frame = len({each.patch for each in placed.patches}) == len(placed.patches)
    return 1 <= len(placed.conditions) <= MOST_PICTURES and whole and one_frame
