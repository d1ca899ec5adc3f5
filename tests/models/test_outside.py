"""What lies outside of a model's training, in a few words; nothing of what lies inside, or is not known."""

import numpy as np
import pytest

from vgen.models import LayoutRange, TrainingRange
from vgen.models.outside import (
    Held,
    advance_outside,
    hand_outside,
    kinds_outside,
    length_outside,
    outside_line,
    pictures_outside,
    place_outside,
    rate_outside,
    scene_outside,
    size_outside,
    speed_outside,
    strange_words,
    words_outside,
)
from vgen.models.picture_probe import PictureProbe

ONE = TrainingRange(
    ((128, 128),), (17,), (50.0, 80.0), ("frames",), frozenset({"press", "button"}), (24.0, 27.6, 31.0),
    {"position4": LayoutRange({"x": (-0.5, 0.5), "z": (0.0, 0.4)}, {"hand": 2.0})},
)  # fmt: skip
SEVERAL = TrainingRange(((128, 128), (192, 320)), (9, 49))


def test_a_line_names_all_and_nothing_is_no_line():
    line = outside_line("nano", ["", "33 frames (trained: 17)", 'the word "cat"'])
    assert line == (
        'outside of what nano was trained on: 33 frames (trained: 17), the word "cat"; the result will be poor'
    )
    assert outside_line("nano", ["", ""]) == ""


@pytest.mark.parametrize(
    "trained, size, told",
    [
        (ONE, (128, 128), ""),
        (ONE, (128, 160), "128x160 pixels (trained: 128x128)"),
        (SEVERAL, (160, 224), ""),  # between in area and in shape
        (SEVERAL, (256, 384), "256x384 pixels (trained: 2 sizes, nearest 192x320)"),
        (SEVERAL, (320, 192), "320x192 pixels (trained: 2 sizes, nearest 192x320)"),
        (TrainingRange(), (999, 1), ""),
    ],
)
def test_sizes(trained, size, told):
    assert size_outside(trained, *size) == told


def test_lengths_rates_and_frames_at_once():
    assert length_outside(ONE, 33) == "33 frames (trained: 17)" and length_outside(ONE, 17) == ""
    assert length_outside(SEVERAL, 33) == "" and length_outside(SEVERAL, 5) == "5 frames (trained: 9 to 49)"
    assert rate_outside(ONE, 20) == rate_outside(ONE, 320) == ""
    assert rate_outside(ONE, 8) == "8 frames per second (trained: 50 to 80)"
    assert advance_outside(ONE, 16) == "" and advance_outside(ONE, 20) == "advance=20 (trained: 16 at most)"
    assert not (length_outside(TrainingRange(), 5) or rate_outside(TrainingRange(), 1e4))
    assert advance_outside(TrainingRange(), 10**6) == ""


def test_kinds_and_words():
    assert kinds_outside(ONE, {"frames": "images"}) == kinds_outside(TrainingRange(), {"clip": "as=clip"}) == ""
    assert kinds_outside(ONE, {"text": "no patch"}) == "no patch (trained: frames)"
    assert words_outside(ONE, "pressing the buttons") == words_outside(TrainingRange(), "a cat") == ""
    assert words_outside(ONE, "press the cat") == 'the word "cat"'
    assert words_outside(ONE, "six cats on two old sofas sleep") == 'the words "six", "cats", "two", "old" and 2 more'


def test_words_that_a_model_wrote_as_no_caption_has_them():
    assert strange_words(ONE, "Press button 2") == strange_words(TrainingRange(), "pup") == ""
    assert strange_words(ONE, "pressing he button") == 'the words "pressing", "he"'


def test_pictures_that_the_codec_cannot_hold():
    assert pictures_outside(ONE, [("a.png", Held(23.5)), ("b.png", Held(40))]) == ""
    told = "the picture cat.png (its codec holds 15.8 dB of it; training pictures 24 to 31)"
    assert pictures_outside(ONE, [("a.png", Held(30)), ("cat.png", Held(15.81))]) == told
    assert pictures_outside(ONE, [("dog.png", Held(20)), ("cat.png", Held(15.81))]) == f"{told} and 1 more"
    assert pictures_outside(TrainingRange(), [("cat.png", Held(1))]) == ""


def test_a_part_may_hold_more_of_the_error_than_its_share():
    assert pictures_outside(ONE, [("a.png", Held(22))]) and not pictures_outside(ONE, [("a.png", Held(22, 0.25))])
    assert pictures_outside(ONE, [("a.png", Held(19, 0.25))])


def test_places_and_speeds_of_the_hand():
    assert place_outside(ONE, "position4", {"x": 0.55, "y": 9, "z": 0.2}) == ""
    assert place_outside(ONE, "position4", {"x": 0.9, "z": 0.2}) == "a start at x=0.9 (trained: -0.5 to 0.5)"
    assert place_outside(ONE, "pose7", {"x": 99}) == place_outside(TrainingRange(), "position4", {"x": 99}) == ""
    assert speed_outside(ONE, "position4", {"hand": 2.9}, "m") == ""
    assert speed_outside(ONE, "position4", {"hand": 7.0}, "m") == "the hand at 7 m/s (trained: 2 at most)"


def test_a_hand_far_from_that_of_the_picture():
    hands = {"position4": PictureProbe((0.0, 0.0, 0.1), ((1.0, 0.0), (0.0, 1.0), (0.0, 0.0)), 0.2)}
    trained, picture = TrainingRange(hands=hands), np.array([0.3, 0.5])
    assert hand_outside(trained, "position4", picture, np.array([0.3, 0.4, 0.1]), "m") == ""
    told = "a start 0.5 m from where the hand in the picture seems to be (0.3, 0.5, 0.1, give or take 0.16 m)"
    assert hand_outside(trained, "position4", picture, np.array([0.3, 0.0, 0.1]), "m") == told
    assert hand_outside(trained, "pose7", picture, np.full(3, 9.0), "m") == ""
    assert hand_outside(trained, "position4", np.zeros(3), np.full(3, 9.0), "m") == ""  # of another codec


def test_a_trajectory_of_another_body_than_the_pictures():
    scenes = {"position4": PictureProbe((0.0,), ((1.0,),), 0.1), "adroit_hand": PictureProbe((1.0,), ((-1.0,),), 0.1)}
    trained = TrainingRange(scenes=scenes)
    arm, likely, hand = np.array([1.0]), np.array([0.91]), np.array([0.0])
    assert scene_outside(trained, "position4", arm) == scene_outside(trained, "position4", likely) == ""
    assert scene_outside(trained, "position4", np.array([0.5])) == "a picture that looks like no scene of position4"
    told = "a trajectory of position4 for a picture that looks like those of adroit_hand"
    assert scene_outside(trained, "position4", hand) == told
    assert scene_outside(trained, "pose7", hand) == scene_outside(TrainingRange(), "position4", hand) == ""


def test_a_fine_tune_on_a_layout_alone_forgets_what_told_its_scenes():
    scenes = {name: PictureProbe((0.0,), ((1.0,),), 0.1) for name in ("position4", "adroit_hand")}
    own = TrainingRange(layouts={"position4": LayoutRange({}, {})})
    joined = TrainingRange(scenes=scenes).join(own)
    assert joined.scenes.keys() == {"adroit_hand"}
    assert scene_outside(joined, "position4", np.array([0.0])) == ""
