"""Which row of a trajectory becomes which action: against plain interpolation."""

from dataclasses import replace

import numpy as np
import pytest
from ego_models import hand
from trajectory_samples import sample, with_gap

from vgen.errors import InputError
from vgen.inference.ego.frames import prolonged, whole_steps
from vgen.inference.ego.trajectories import (
    HandHistory,
    actions_of,
    actions_of_steps,
    choose_frames,
    frames_driven,
    future_of,
    past_of,
    read_known,
    state_at_start,
    warn_of_gap,
)
from vgen.trajectory.convert import convert, to_delta
from vgen.trajectory.edits import mirror
from vgen.trajectory.files import TrajectoryFile, write_trajectory
from vgen.trajectory.statistics import Statistics
from vgen.trajectory.trajectory import Trajectory

RATE = 20.0


def all_of(known, edits=()):
    return future_of(known, RATE, frames_driven(known, RATE), edits)


def column(trajectory, seconds, number=0):
    """A column at some times, straight from the rows."""
    return np.interp(seconds, trajectory.times, trajectory.values[:, number])


@pytest.fixture
def source(tmp_path):
    """Writes a trajectory, and says where."""

    def write(trajectory):
        (tmp_path / "hand.npz").unlink(missing_ok=True)
        write_trajectory(tmp_path / "hand.npz", trajectory)
        return TrajectoryFile(tmp_path / "hand.npz")

    return write


def test_the_first_row_is_the_start_frame_and_action_k_leads_to_frame_k_plus_1(source):
    given = hand(rows=9, rate=4.0, began=3.0)  # of another rate, on a clock of its own
    known = read_known(source(given), None, None)
    assert known.times[0] == 0 and frames_driven(known, RATE) == 40
    actions = actions_of(known, RATE, 40, "absolute")
    seconds = 3.0 + np.arange(41) / RATE
    assert np.allclose(actions.trajectory.values[:, 0], column(given, seconds), atol=1e-6)
    assert np.allclose(actions.future.values[:, 0], column(given, seconds[1:]), atol=1e-6)
    assert np.allclose(actions.past.values[:, 0], column(given, seconds[:1]), atol=1e-6) and len(actions.past) == 1


def test_another_row_may_be_the_start_frame(source):
    given = hand(rows=41, began=1.0)
    known = read_known(source(given), 2.0, None)
    actions = actions_of(known, RATE, 20, "absolute", past_of(known, RATE, 8))
    assert len(actions.future) == 20 and len(actions.past) == 9
    assert np.allclose(actions.future.values[0, 0], column(given, 2.0 + 1 / RATE), atol=1e-6)
    assert np.allclose(actions.past.values[:, 0], column(given, 2.0 + np.arange(-8, 1) / RATE), atol=1e-6)
    last = read_known(source(given), None, None, last=True)
    assert last.times[-1] == 0 and np.allclose(state_at_start(last).values, given.values[-1:])


@pytest.mark.parametrize("form", ["delta", "relative"])
def test_actions_of_other_forms_are_steps_or_against_the_start(form):
    known = hand()
    whole = all_of(known)
    actions = actions_of(whole, RATE, 40, form)
    steps = actions.future.values[:, :3]
    path = steps.cumsum(0) if form == "delta" else steps
    assert len(steps) == 40 and np.allclose(path, whole.values[1:, :3] - whole.values[0, :3], atol=1e-5)
    assert (actions.past is None) == (form == "delta")


@pytest.mark.parametrize("form", ["absolute", "delta", "relative"])
def test_turn_by_turn_gives_the_same_actions_as_at_once(form):
    whole = all_of(hand())
    led = HandHistory(whole.rows(0, 1), form)
    parts = [led.extend(whole.rows(first, first + 8)) for first in range(1, 41, 8)]
    at_once = actions_of(whole, RATE, 40, form).future
    assert np.allclose(np.concatenate([part.values for part in parts]), at_once.values, atol=1e-6)


@pytest.mark.parametrize("form", ["delta", "relative"])
def test_a_file_of_another_form_goes_on_from_a_known_start(source, form):
    given = hand()
    known = read_known(source(convert(given, form)), None, given.rows(0, 1))
    assert (known.form, len(known)) == ("absolute", 41)
    assert np.allclose(known.values, given.values, atol=1e-5) and np.allclose(known.times, given.times)


def test_steps_drive_a_model_of_steps_without_a_start(source):
    steps = read_known(source(to_delta(hand())), None, None)
    assert steps.form == "delta" and np.isclose(steps.times[0], 1 / RATE)
    actions = actions_of_steps(steps, "delta", RATE, 8)
    assert len(actions.future) == 8 and actions.past is None
    with pytest.raises(InputError, match="at other times than the model's 10 rows per second"):
        actions_of_steps(steps, "delta", 10.0, 8)


def test_rows_go_on_as_the_last_one():
    rows = all_of(hand()).rows(0, 11)
    longer = prolonged(rows, 16)
    assert len(longer) == 16 and longer.valid.all() and np.allclose(longer.times, np.arange(16) / RATE)
    assert np.array_equal(longer.values[:11], rows.values) and (longer.values[11:] == rows.values[-1]).all()
    assert prolonged(rows, 11) is rows and len(prolonged(rows.rows(0, 1), 4)) == 4
    assert [whole_steps(frames, 16) for frames in (1, 16, 17)] == [16, 16, 32]


def test_as_many_frames_as_are_asked_for_or_as_there_are():
    assert choose_frames(None, hand(), RATE) == 40 and choose_frames(7, hand(), RATE) == 7
    with pytest.raises(InputError, match=r"frames=41: .* enough for 40 frames .*; nearest: 40"):
        choose_frames(41, hand(), RATE)
    long = replace(hand(), times=np.linspace(0, 7200, 41))
    assert choose_frames(8, long, RATE) == 8 and choose_frames(5000, long, RATE) == 5000
    with pytest.raises(
        InputError, match=r"enough for 144000 frames .*, more than the 1000 .*: --frames 100000 or less"
    ):
        choose_frames(None, long, RATE)


def test_a_gap_is_told_in_what_the_network_reads(caplog):
    rows = np.array([[0, 0, 0, 0, 0, np.pi - 0.01, 1]] * 2)
    seen = np.array([[0, 0, 0, 0, 0, 0.01 - np.pi, 1]])  # beside it, over the seam of the angles
    future, state = (Trajectory(each, np.arange(len(each)) / 5, layout="pose7") for each in (rows, seen))
    statistics = Statistics("pose7", "absolute", "mean_std", np.zeros(10), np.ones(10))
    warn_of_gap(future, state, statistics)
    assert not caplog.text
    seen[0, 5] = 0.0
    warn_of_gap(future, Trajectory(seen, [0.0], layout="pose7"), statistics)
    assert "begins at r11=-1, the hand is at 1; if it is on the clock of the whole episode" in caplog.text


def test_edits_are_of_the_future_and_count_from_the_start_frame():
    known = replace(hand(), times=hand().times - 1.0)  # the start frame is in the middle
    edited = all_of(known, ["mirror"])
    plain = all_of(known)
    assert np.allclose(edited.values, mirror(plain).values) and np.allclose(edited.values[0], plain.values[0])
    assert np.allclose(future_of(known, RATE, 10, ["redirect=0.1,0.6,0.3"]).values[10, :3], [0.1, 0.6, 0.3])
    with pytest.raises(InputError, match=r"time 0\.75 s is outside the trajectory, 0 to 0\.5 s"):
        future_of(known, RATE, 10, ["stop@0.75"])
    held = all_of(known, ["stop@0.5"])
    assert np.allclose(held.values[10:], plain.values[10]) and np.allclose(held.values[:11], plain.values[:11])


def test_rows_that_are_not_valid_stay_so():
    known = with_gap(hand(), 7)
    actions = actions_of(known, RATE, 40, "absolute")
    assert np.flatnonzero(~actions.future.valid).tolist() == [6]
    assert state_at_start(with_gap(hand(), 0)) is None


def test_what_has_led_here_matches_how_statistics_are_fit():
    rows = sample("adroit_hand", rows=12, rate=RATE)
    rows = replace(rows, times=rows.times - rows.times[0])
    actions = actions_of(rows, RATE, len(rows) - 1, "delta")
    Statistics.fit([actions.future]).normalise(actions.future)
    assert np.allclose(actions.future.values, to_delta(rows).values, atol=1e-5)
