import pytest

from vgen.models.words import knows_none, unseen_words

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


@pytest.mark.parametrize(
    "text, none",
    [("a rocket starts", True), ("火箭", True), ("a rocket opens", False), ("", False), ("of the, 3 x", False)],
)
def test_a_sentence_of_unknown_words_alone(text, none):
    assert knows_none(text, SEEN) == none
