import numpy as np
import pytest

from vgen.data.windows import Windows


@pytest.fixture
def windows():
    """Two episodes of 4 and 3 frames; step k of an episode is 10 times its place, plus k."""
    steps = [np.array([[0.0], [1], [2]], np.float32), np.array([[10.0], [11]], np.float32)]
    return Windows(steps, [np.ones(3, bool), np.array([True, False])], [np.array([-1.0]), np.array([-2.0])])


def test_every_frame_that_a_step_follows_is_a_present(windows):
    assert [windows.present(n) for n in range(len(windows))] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]


def test_a_step_has_the_time_of_its_arrival(windows):
    past, there = windows.steps(1, [-1, 0])  # frame 1: step 0 led to it
    assert past.ravel().tolist() == [0, 0] and there.tolist() == [False, True]
    coming, there = windows.steps(1, [1, 2, 3])
    assert coming.ravel().tolist() == [1, 2, 0] and there.tolist() == [True, True, False]


def test_steps_of_other_episodes_and_invalid_ones_do_not_count(windows):
    steps, there = windows.steps(3, [-1, 0, 1, 2, 3])
    assert steps.ravel().tolist() == [0, 0, 10, 0, 0] and there.tolist() == [False, False, True, False, False]


def test_after_the_end_a_body_rests_and_an_invalid_step_stays_so(windows):
    steps, there = windows.future(1, 4)
    assert steps.ravel().tolist() == [1, 2, -1, -1] and there.tolist() == [True, True, True, True]
    steps, there = windows.future(3, 3)  # the second step of this episode is not valid
    assert steps.ravel().tolist() == [10, 0, -2] and there.tolist() == [True, False, True]


def test_frames_stay_in_their_episode(windows):
    frames, there = windows.frames(2, [-3, -1, 0, 1, 2])
    assert frames.tolist() == [0, 1, 2, 3, 3]
    assert there.tolist() == [False, True, True, True, False]
