"""What of a rollout is told to lie outside of the training of a model."""

import numpy as np

from vgen.inference.ego.outside import _apart, _trajectory_outside, tell_strange_texts
from vgen.models import LayoutRange, TrainingRange
from vgen.models.picture_probe import PictureProbe
from vgen.trajectory.trajectory import Trajectory


def boxes(left: bool) -> Trajectory:
    """A right hand that stands still, and a left one that comes after the start, or is there."""
    values = np.zeros((3, 10))
    values[:, 4:8], values[:, 9] = [0.5, 0.5, 0.7, 0.7], 1
    values[0 if left else 1 :, 8] = 1
    values[1:, :4] = [0.8, 0.8, 0.9, 0.9]
    return Trajectory(values, np.arange(3) / 10, layout="hand_boxes")


def test_a_hand_that_is_not_there_yet_is_in_no_strange_place():
    places = {"left_x0": (0.5, 0.9), "right_x0": (0.4, 0.6)}
    trained = TrainingRange(
        layouts={"hand_boxes": LayoutRange(places, {"left": 2.0, "right": 2.0})},
        hands={"hand_boxes": PictureProbe((9.0,) * 4, ((0.0,) * 16,) * 4, 0.1)},
    )
    assert "left_x0=0 (trained" in _trajectory_outside(trained, boxes(left=True))[0]
    assert _trajectory_outside(trained, boxes(left=False)) == ["", ""]
    looks = np.zeros(32)  # of 16 means
    assert "from where the hand in the picture seems" in _apart(trained, boxes(left=True), looks)
    assert _apart(trained, boxes(left=False), looks) == ""


def test_a_text_that_is_no_sentence_of_the_training_is_told(caplog):
    trained = TrainingRange(words=frozenset({"pull", "the", "lever", "up"}))
    tell_strange_texts("mine", trained, ["pull the lever up", "pull the lever uver", "pull the lever uver"])
    told = 'the text "pull the lever uver" is no sentence that mine was trained on: no caption has the word "uver"'
    assert [record.message for record in caplog.records] == [told]
    caplog.clear()
    tell_strange_texts("mine", None, ["pup"])
    tell_strange_texts("mine", TrainingRange(), ["pup"])
    assert not caplog.text
