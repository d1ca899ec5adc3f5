import pytest

from vgen.models.words import meaning_words, unseen_words

SEEN = ["close", "open", "drawer", "button", "press", "box", "bottle"]


@pytest.mark.parametrize(
    "text, unseen",
    [
        ("Pressing the buttons, then closes it: boxes, opened; a drawer's bottle", []),
        ("press 3 x 12 of them", []),
        ("a cat and a CAT sleep", ["cat", "sleep"]),
        ("ouvre le tiroir", ["ouvre", "tiroir"]),
        ("打开抽屉", ["打开抽屉"]),
        ("", []),
    ],
)
def test_other_forms_of_a_word_are_no_other_words(text, unseen):
    assert unseen_words(text, SEEN) == unseen


def test_words_that_mean_something_by_themselves():
    assert meaning_words("A cat and its 3 drawers, on the cat of 打开") == ["cat", "drawers", "打开"]
