"""Words of sentences, told apart as far as a model's training is concerned: "boxes" is no other word than "box"."""

from __future__ import annotations

import re
from collections.abc import Iterable

ENDINGS = ("ing", "ed", "es", "s", "ly", "e")
LEAST = 3  # letters of a stem, and of a word that means something by itself


def words_of(text: str) -> list[str]:
    """The words of a sentence in small letters, in their order, without numbers. What is written without spaces between
    words, as Chinese is, counts as one up to the next punctuation mark."""
    return re.findall(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*", text.casefold())


JOINING = frozenset(  # English words that say how others hang together, and mean nothing that would have to be seen
    words_of(
        "and are but can for from has have her his into its not off one onto our out over own she than that the their "
        "them then there they this through was were which while who will with you your"
    )
)


def stem(word: str) -> str:
    """What a word has in common with its other forms in English, roughly: "closing" and "closes" are "clos"."""
    word = re.sub(r"['\u2019].*", "", word)
    for ending in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= LEAST:
            word = word.removesuffix(ending)
            break
    doubled = len(word) > LEAST and word[-1] == word[-2]
    word = word[:-1] if doubled else word
    return word[:-1] + "i" if word.endswith("y") else word


def unseen_words(text: str, seen: Iterable[str]) -> list[str]:
    """The words of a sentence that are no form of any word of some, each once, in their order, among those that
    `meaning_words` gives."""
    known = {stem(word) for word in seen}
    return [word for word in meaning_words(text) if stem(word) not in known]


def meaning_words(text: str) -> list[str]:
    """The words of a sentence that mean something by themselves, each once, in their order: words of one or two Latin
    letters, and those that join others, are passed over."""
    words = dict.fromkeys(words_of(text))
    return [word for word in words if word not in JOINING and not (word.isascii() and len(word) < LEAST)]
