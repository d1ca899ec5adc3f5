import numpy as np
import pytest

from vgen.trajectory.places import body_places, body_speeds, constant_velocity
from vgen.trajectory.trajectory import Trajectory


def line(valid=None):
    values = np.zeros((5, 4))
    values[:, 0], values[:, 2] = np.arange(5) ** 2, 7
    return Trajectory(values, np.arange(5) / 10, valid, "position4")


def test_a_body_is_where_its_point_is_and_a_box_where_its_middle_is():
    assert body_places(line())[:, 0].tolist() == [[k**2, 0, 7] for k in range(5)]
    boxes = Trajectory(np.array([[0, 0, 0.2, 0.4, 0.5, 0.5, 1, 0.7, 1, 1]]), [0.0], None, "hand_boxes")
    np.testing.assert_allclose(body_places(boxes)[0], [[0.1, 0.2], [0.75, 0.6]], atol=1e-6)


def test_constant_velocity_repeats_the_last_step_that_is_known():
    assert constant_velocity(line(), 2, 3)[:, 0, 0].tolist() == [4, 7, 10]
    assert constant_velocity(line(), 0, 3)[:, 0, 0].tolist() == [0, 0, 0]
    assert constant_velocity(line(np.array([1, 0, 1, 1, 1], bool)), 2, 3)[:, 0, 0].tolist() == [4, 4, 4]


def test_speeds_are_between_rows_that_are_valid():
    assert body_speeds(line(), "hand") == pytest.approx([10, 30, 50, 70])
    assert body_speeds(line(np.array([1, 1, 0, 1, 1], bool)), "hand") == pytest.approx([10, 70])


def test_a_hand_that_comes_is_not_fast():
    boxes = np.zeros((4, 10))
    boxes[2:, 4:8], boxes[2:, 9] = [0.5, 0.5, 0.7, 0.7], 1
    known = Trajectory(boxes, np.arange(4) / 10, None, "hand_boxes")
    assert body_speeds(known, "right").tolist() == [0] and not body_speeds(known, "left").size
