"""What a model reads for the prompt of a canvas that has none, or few of whose words it knows.

A model whose captions say what moves ("the camera pans left over a photograph") takes an empty prompt for any of these,
and a picture alone then dissolves into the mean of all; so it does with words that the model does not know. Such a
model says in its index, as `default_prompt`, what its captions call a picture in which nothing moves. It is read where
what is given leaves that open: at one frame, whole or in part, in a run of whole frames, from which a video goes on, or
as two whole pictures. With more of them, and with parts at several frames, an empty prompt is as good or better
(docs/results.md).
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise

from vgen.canvas.placed import PlacedCanvas
from vgen.checks import show
from vgen.media.placing import PlacedClip
from vgen.models.words import meaning_words, unseen_words

LEAST_KNOWN = 0.5  # share of the words of a prompt that is read
WHOLE_PICTURES = 2  # that do not tell what moves


def read_prompt(placed: PlacedCanvas, default: str, words: Collection[str] | None = None) -> str:
    """The prompt of a canvas as a model reads it.

    Args:
        placed: the canvas. Its own prompt is read where it is "", or the model knows `LEAST_KNOWN` of its words.
        default: the model's `default_prompt`; "" is none.
        words: of the captions that it was trained on; None: it may know any.
    """
    own = placed.canvas.prompt
    says_nothing = own is None or (own != "" and words is not None and _hardly_known(own, words))
    return default if default and says_nothing and leaves_open(placed) else placed.prompt


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
        known = f"knows {count - len(unseen)} of the {count} words of" if count else "finds no word in"
        why = f'{model} {known} "{show(own)}" and reads'
    return f'{why} "{show(read)}", so that what is given stays; for motion, give more pictures (docs/canvas.md)'


def leaves_open(placed: PlacedCanvas) -> bool:
    """Whether what is given leaves open what moves: all of it lies at one frame, or it is a run of whole frames, or two
    whole pictures."""
    given = placed.conditions
    if not given or any(isinstance(each, PlacedClip) for each in given):
        return False
    frames = sorted(each.frame for each in given)
    run = all(later - earlier == 1 for earlier, later in pairwise(frames))
    whole = all(bool((each.mask == 1).all()) for each in given)
    return len(given) == 1 or (whole and (run or len(given) == WHOLE_PICTURES))


def _hardly_known(text: str, words: Collection[str]) -> bool:
    """Whether fewer than `LEAST_KNOWN` of the words of a text that mean something are in some form among others; so it
    is of a text without such words."""
    meaning = meaning_words(text)
    known = len(meaning) - len(unseen_words(text, words))
    return not meaning or known < LEAST_KNOWN * len(meaning)
