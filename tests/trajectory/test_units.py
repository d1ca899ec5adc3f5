"""What is likely in another unit is told or refused before a model is loaded; what was recorded passes in silence."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ego_models import hand
from trajectory_samples import sample, with_gap

from vgen.errors import InputError
from vgen.inference.ego.inputs import read_inputs
from vgen.inference.ego.spec import RolloutSpec, Start
from vgen.inference.settings import EgoSettings
from vgen.trajectory.convert import convert
from vgen.trajectory.files import TrajectoryFile, read_trajectory, write_trajectory
from vgen.trajectory.statistics import Statistics
from vgen.trajectory.trajectory import Trajectory
from vgen.trajectory.units import check_times, check_values, warn_of_degrees

ROOT = Path(__file__).parents[2]
PRESS, SHOWN = ROOT / "configs/ego/press.json", str(ROOT / "configs/canvas/media/button_0.png")
CASES = ROOT / "../shared/cases/units"
NANO = json.loads((ROOT / "vgen/weights/nano/ego/config.json").read_text())


def asked(trajectory, start=SHOWN, **options):
    """How many frames nano would be asked for; it is not loaded."""
    spec = RolloutSpec(Start(start), trajectory=str(trajectory), text="x", **options)
    return read_inputs(spec, EgoSettings()).frames


@pytest.fixture
def ask(tmp_path):
    """The same of the shipped trajectory with other values or times."""

    def changed(columns=(), value=None, times=None, **question):
        press = read_trajectory(TrajectoryFile(PRESS))
        values = press.values.copy()
        values[:, list(columns)] = value(values[:, list(columns)]) if value else values[:, list(columns)]
        path = tmp_path / "t.npz"
        path.unlink(missing_ok=True)
        write_trajectory(path, replace(press, values=values, times=times(press.times) if times else press.times))
        return asked(path, **question)

    return changed


@pytest.mark.parametrize(("file", "start", "frames"), [("press.json", SHOWN, 63), ("hand.npz", "hand_16.png", 96)])
def test_what_is_shipped_passes_in_silence(file, start, frames, caplog):
    folder = ROOT / "configs/ego"
    assert asked(folder / file, str(folder / start)) == frames
    assert not caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"times": lambda t: t * 1e3}, "step by 12.5 s, 1000 frames of the model's 80 per second: .* milliseconds; "),
        ({"times": lambda t: t * 1e6}, "look like microseconds; divide them by 1000000$"),
        ({"times": lambda t: (1.7e9 + t) * 1e9}, "look like nanoseconds"),
        ({"times": lambda t: t * 1e3, "frames": 16}, "milliseconds"),  # asked for or not
        ({"times": lambda t: t * 80}, "enough for 5040 frames .*, more than the 1000 .*: --frames 5040 or less"),
        ({"columns": (0, 1, 2), "value": lambda v: v * 1e3}, r"y=813.5 .* 0\.268 to 1; .* millimetres: divide by 1000"),
        ({"columns": (0, 1, 2), "value": lambda v: v * 100}, r"y=81.35 at .* centimetres: divide by 100\)$"),
        ({"columns": (0, 1, 2), "value": lambda v: v / 0.0254}, r"y=32.03 at .* inches: divide by 39.37\)$"),
        ({"columns": (2,), "value": lambda v: v * 1e3}, r"z=423.6 at .* knows values of -0.185 to 0.514; give it in m"),
        ({"columns": (0, 1, 2), "value": lambda v: v * 1e3, "mode": "policy"}, "millimetres"),
        (
            {"columns": (3,), "value": lambda v: v * 255},
            "gripper goes from 67.3 to 255; .* 1 open, 0 shut: divide by 255",
        ),
        ({"columns": (3,), "value": lambda v: v * 100}, "divide by 100$"),
        ({"columns": (3,), "value": lambda v: v * 1e9}, "scale it to 0 … 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(ask, change, message):
    with pytest.raises(InputError, match=message) as raised:
        ask(**change)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"columns": (3,), "value": lambda v: v * 0.08},
            "0.0211 to 0.08 and never opens; the model knows 0.338 to 0.939",
        ),
        ({"columns": (3,), "value": lambda v: v * 2 - 1}, "goes from -0.472 to 1; .* give (1 + value) / 2"),
        ({"columns": (3,), "value": lambda v: v * 2}, "goes from 0.528 to 2; it is to be 1 open, 0 shut"),
        (
            {"columns": (0,), "value": lambda v: v + 1.5},
            "the model knows values of -0.377 to 0.397; give it in its unit",
        ),
        (
            {"times": lambda t: np.arange(64.0), "frames": 16},
            "step by 1 s, 80 frames .* numbers of frames, divide them",
        ),
        ({"times": lambda t: np.arange(64.0) * 2, "frames": 16}, "step by 2 s, 160 frames .* from row to row"),
        ({"times": lambda t: t / 60}, "0.01667 frames .* most rows are passed over"),
    ],
)
def test_what_is_likely_not_meant_is_told_in_one_line(ask, change, message, caplog):
    ask(**change)
    (said,) = caplog.messages
    assert "\n" not in said
    assert all(part in said for part in message.split(" .* ")), said


@pytest.mark.parametrize(
    "change",
    [
        {"times": lambda t: t + 1.7e9},  # a clock of the world
        {"times": lambda t: t * 8},  # ten rows a second
        {"columns": (3,), "value": lambda v: v * 0},  # shut all the time
        {"columns": (0, 1, 2, 3), "value": lambda v: 0 * v + v[:1]},  # a hand that stays
    ],
)
def test_what_may_well_be_meant_passes_in_silence(ask, change, caplog):
    assert ask(**change)
    assert not caplog.text


def test_the_start_of_a_video_to_explain_is_held_against_stage_one(ask):
    explained = {"mode": "inverse", "start": str(ROOT / "configs/canvas/media/drawer.mp4"), "frames": 2}
    assert ask(**explained) == 2
    with pytest.raises(InputError, match=r"gripper goes from 255 to 255; .* divide by 255"):
        ask((3,), lambda values: values * 255, **explained)


@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not here")
def test_reported_cases(caplog):
    assert asked(CASES / "grip_metres.json", frames=16) == 16
    assert "never opens" in caplog.text
    with pytest.raises(InputError, match="look like milliseconds; divide them by 1000"):
        asked(CASES / "ms.json")


def test_a_column_that_never_changed_hides_no_other():
    values = hand().values.copy()
    values[:, 2] = 0.2
    level = replace(hand(), values=values)
    statistics = Statistics.fit([level], "mean_std")
    assert statistics.spread[2] == 1
    with pytest.raises(InputError, match="the model knows values of"):
        check_values(replace(level, values=values * [100, 100, 1, 1]), statistics)


def test_a_few_rows_may_lie_far_apart(caplog):
    check_times(replace(hand(rows=2), times=np.array([0, 40.0])), 80.0)
    check_times(hand(rows=1), 80.0)
    check_times(replace(hand(rows=4), times=np.arange(4.0)), 80.0)
    assert not caplog.text


@pytest.mark.parametrize("form", ["absolute", "relative", "delta"])
@pytest.mark.parametrize("method", ["quantile", "mean_std"])
@pytest.mark.parametrize("name", ["position4", "pose7", "hand_pose57", "hand_boxes"])
def test_every_form_is_held_against_statistics_of_its_own(name, method, form, caplog):
    given = sample(name)
    statistics = Statistics.fit([convert(given, form)], method)
    check_values(given, statistics)
    assert "in its unit" not in caplog.text
    values = given.values.copy()
    _, where = next(given.spec.slices())
    values[:, where.start : where.start + 3] *= 1e4
    with pytest.raises(InputError, match="the model knows values of"):
        check_values(replace(given, values=values), statistics)


def test_rows_that_are_not_valid_are_told_of_and_not_looked_at(caplog):
    path = hand()
    statistics = Statistics.fit([path], "mean_std")
    values = path.values.copy()
    values[3] = 1e9
    check_values(replace(path, values=values, valid=np.arange(41) != 3), statistics)
    check_values(with_gap(path, *range(41)), statistics)
    assert caplog.messages == [f"{n} of 41 rows are not valid; the model is not told of them" for n in (1, 41)]


def test_pixels_are_no_shares():
    given = sample("hand_boxes")
    values = given.values * np.where(np.arange(10) < 8, 640, 1)
    with pytest.raises(InputError, match="give it as share of the width, not in pixels"):
        check_values(replace(given, values=values), Statistics.fit([given]))


def test_a_turn_that_a_model_has_not_seen_is_no_unit(caplog):
    values = np.zeros((20, 7))
    values[:, 5] = np.linspace(0, 0.01, 20)
    narrow = Trajectory(values, np.arange(20) / 5, layout="pose7")
    check_values(replace(narrow, values=values * 300), Statistics.fit([narrow], "mean_std"))
    assert not caplog.text


def test_angles_beyond_a_turn_are_told(caplog):
    given = sample("pose7")
    warn_of_degrees(given)
    assert not caplog.text
    warn_of_degrees(replace(given, values=given.values + 6.4))
    assert "beyond a turn of 6.283 rad; if it is in degrees, convert it (numpy.radians)" in caplog.text
