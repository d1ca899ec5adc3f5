"""Layouts as data, and what a trajectory refuses to hold."""

from pathlib import Path

import numpy as np
import pytest
from trajectory_samples import LAYOUT_NAMES, sample

from vgen.errors import InputError
from vgen.trajectory.convert import resample
from vgen.trajectory.layouts import DELTA_MEANING, LAYOUTS, MANO, MEDIAPIPE, table
from vgen.trajectory.trajectory import Trajectory, find_layout

DOCS = Path(__file__).parents[2] / "docs" / "trajectories.md"
WIDTHS = {
    "hand_boxes": 10,
    "pose7": 7,
    "position4": 4,
    "keypoints": 128,
    "keypoints_mano": 128,
    "hand_pose57": 57,
    "adroit_hand": 72,
}
ROWS = np.zeros((3, 4))
TIMES = np.arange(3.0)

# The arguments of Trajectory, and what the message must name.
BAD = [
    ({"values": np.zeros((3, 5))}, "values have 5 columns; layout position4 has 4"),
    ({"values": np.zeros((3, 7))}, "layouts of that width: pose7"),
    ({"values": np.full((3, 7), 90.0), "layout": "pose7"}, "(roll) is 90, more than four turns, and must be in rad"),
    ({"values": np.zeros(4)}, "values of shape [4] must be [A, D]"),
    ({"values": np.zeros((3, 4, 1))}, "[3, 4, 1]"),
    ({"values": np.zeros((0, 4)), "times": np.zeros(0)}, "no rows"),
    ({"values": [[1, 2, 3, 4], [1, 2, 3]]}, "not rows of one length"),
    ({"values": np.full((3, 4), "x")}, "must hold numbers"),
    ({"values": np.zeros((3, 4), complex)}, "complex128"),
    ({"values": np.zeros((3, 4), bool)}, "bool"),
    ({"values": [[None] * 4] * 3}, "must hold numbers"),
    ({"values": np.where(np.arange(12).reshape(3, 4) == 6, np.nan, 0)}, "values[1, 2] (z) is nan"),
    ({"values": np.where(np.arange(12).reshape(3, 4) == 11, np.inf, 0)}, "values[2, 3] (gripper) is inf"),
    ({"values": np.full((3, 4), 1e300)}, "values[0, 0] (x) is inf"),
    ({"times": [0, 2, 1]}, "times[2]=1 does not come after times[1]=2"),
    ({"times": [0, 1, 1]}, "times[2]=1 does not come after"),
    ({"times": [0, np.nan, 2]}, "times[1]=nan"),
    ({"times": [0, 1]}, "times has 2 entries for 3 rows"),
    ({"times": [[0, 1, 2]]}, "times of shape [1, 3]"),
    ({"times": ["a", "b", "c"]}, "must hold numbers"),
    ({"valid": [True, True]}, "valid has 2 entries"),
    ({"valid": [1, 1, 1]}, "must be bool"),
    ({"valid": [[True], [True, False]]}, "must be bool"),
    ({"layout": "position5"}, "'position5' is not in the trajectory layouts; nearest: 'position4'"),
    ({"layout": ""}, "known: hand_boxes"),
    ({"form": "deltas"}, "nearest: 'delta'"),
]


@pytest.mark.parametrize("given, named", BAD, ids=[named for _, named in BAD])
def test_a_wrong_trajectory_is_refused_in_one_line(given, named):
    with pytest.raises(InputError) as refused:
        Trajectory(**{"values": ROWS, "times": TIMES, "layout": "position4"} | given)
    assert named in str(refused.value)
    assert "\n" not in str(refused.value)


def test_types_and_defaults():
    made = Trajectory([[1, 2, 3, 1]], [5], layout="position4")
    assert (made.values.dtype, made.times.dtype, made.valid.dtype) == (np.float32, np.float64, bool)
    assert made.valid.all() and made.form == "absolute" and len(made) == 1


def test_rows_that_are_not_valid_may_hold_anything():
    values = np.array([[0, 0, 0, 0], [np.nan, np.inf, 0, 0], [0, 0, 0, 0]])
    made = Trajectory(values, TIMES, np.array([True, False, True]), "position4")
    assert made.valid.tolist() == [True, False, True]


def test_the_arrays_are_its_own():
    values, valid = ROWS.astype(np.float32), np.ones(3, bool)
    made = Trajectory(values, TIMES, valid, "position4")
    values[:], valid[:] = 7, False
    assert not made.values.any() and made.valid.all()


def test_rows_are_cut_and_bounds_checked():
    whole = sample("pose7", rows=5)
    part = whole.rows(1, 3)
    np.testing.assert_array_equal(part.values, whole.values[1:3])
    np.testing.assert_array_equal(part.times, whole.times[1:3])
    for start, stop in ((0, 6), (-1, 2), (3, 3)):
        with pytest.raises(InputError, match="trajectory of 5 rows"):
            whole.rows(start, stop)


def test_widths_and_column_names():
    assert {name: kind.width for name, kind in LAYOUTS.items()} == WIDTHS
    for name, kind in LAYOUTS.items():
        assert find_layout(name) is kind
        assert len(set(kind.names)) == kind.width
        assert all(text for column in kind.columns for text in vars(column).values()), name
        assert kind.rate > 0


def test_keypoint_orders():
    assert [MEDIAPIPE[i] for i in (0, 4, 8, 12, 16, 20)] == [
        "wrist", "thumb_4", "index_4", "middle_4", "ring_4", "little_4"
    ]  # fmt: skip
    assert [MANO[i] for i in (0, 1, 4, 7, 10, 13)] == [
        "wrist", "index_1", "middle_1", "little_1", "ring_1", "thumb_1"
    ]  # fmt: skip
    assert MANO[16:] == ("thumb_4", "index_4", "middle_4", "ring_4", "little_4")
    assert sorted(MANO) == sorted(MEDIAPIPE)


def test_hand_pose57_has_the_blocks_of_cosmos():
    blocks = [(part.owner, len(part.columns)) for part in find_layout("hand_pose57").parts]
    assert blocks == [("camera", 9), ("right", 9), ("right", 15), ("left", 9), ("left", 15)]


@pytest.mark.parametrize("name", LAYOUT_NAMES)
def test_places_and_points_cover_what_moves(name):
    kind = find_layout(name)
    moved = sorted(column for body in kind.bodies for point in kind.points(body) for column in point)
    wanted = []
    for part, where in kind.slices():
        if part.owner != "camera" and part.type in ("point", "box", "pose"):
            wanted += list(range(where.start, where.start + (3 if part.type == "pose" else len(part.columns))))
    assert moved == wanted
    assert all(kind.place(body)[0] in kind.points(body) for body in kind.bodies)


def test_the_table_of_the_documents_is_up_to_date():
    """Refresh it with: python tools/edit_trajectory.py --layouts"""
    text = DOCS.read_text()
    inside = text.split("<!-- layouts -->\n")[1].split("<!-- end of layouts -->")[0]
    assert inside.strip() == table().strip()


def test_the_table_names_every_layout_and_counts_every_column():
    for kind in LAYOUTS.values():
        rows = table().split(f"**`{kind.name}`**")[1].splitlines()
        assert f"width {kind.width}" in rows[0]
    spans = [row.split("|")[2].strip() for row in table().splitlines()[2:]]
    ends = [[int(number) for number in span.split("-")] for span in spans]
    assert sum(end[-1] - end[0] + 1 for end in ends) == sum(WIDTHS.values())
    assert set(DELTA_MEANING) == {part.type for kind in LAYOUTS.values() for part in kind.parts}


@pytest.mark.parametrize("form", ["absolute", "relative"])
def test_a_hand_that_is_gone_repeats_its_last_columns(form):
    box = np.array([0.4, 0.5, 0.6, 0.8])
    values = np.zeros((5, 10))
    values[1:3, 4:9], values[1:3, 9] = [*box, 0], 1
    made = Trajectory(values, np.arange(5.0), [True, True, True, True, False], "hand_boxes", form)
    np.testing.assert_allclose(made.values[:, 4:8], [box * 0, box, box, box, box * 0], atol=1e-6)
    assert made.values[:, 9].tolist() == [0, 1, 1, 0, 0] and not values[3].any()  # what was given stays
    between = resample(made, [2.5])
    np.testing.assert_allclose(between.values[0, 4:8], box, atol=1e-6)  # on its way to nowhere
    steps = Trajectory(values, np.arange(5.0), None, "hand_boxes", "delta")
    np.testing.assert_array_equal(steps.values, values.astype(np.float32))
