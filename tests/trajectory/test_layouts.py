"""A layout of one's own, added as the docstring of vgen.trajectory.layouts says, through all that layouts are for."""

import numpy as np
import pytest
from documented import run_example
from trajectory_samples import sample

from vgen.trajectory import layouts
from vgen.trajectory.convert import convert, mirror_scene, resample_rate
from vgen.trajectory.edits import parse_edit
from vgen.trajectory.files import read_trajectory, write_trajectory
from vgen.trajectory.overlay import Overlay
from vgen.trajectory.statistics import Statistics
from vgen.trajectory.units import check_values


@pytest.fixture
def brush(monkeypatch):
    monkeypatch.setitem(layouts.LAYOUTS, "brush", None)  # which takes what the example adds away again
    run_example(layouts)
    return sample("brush")


def test_the_documented_layout_is_all_there_is_to_say(brush, tmp_path):
    assert brush.spec.names == ["x", "y", "z", "press"] and brush.spec.bodies == ["brush"]
    for form in ("relative", "delta"):
        back = convert(convert(brush, form), "absolute", brush.rows(0, 1))
        np.testing.assert_allclose(back.values, brush.values, atol=1e-5)
    assert len(resample_rate(brush, 10.0)) == 20
    np.testing.assert_array_equal(mirror_scene(brush).values, brush.values * np.float32([-1, 1, 1, 1]))
    moved = parse_edit("shift=0,0,0.1:blend=0")(brush)
    np.testing.assert_allclose(moved.values - brush.values, np.tile([0, 0, 0.1, 0], (40, 1)), atol=1e-6)
    statistics = Statistics.fit([brush])
    restored = statistics.restore(statistics.normalise(brush.rows(3, 9)), brush.times[3:9])
    assert restored.layout == "brush"
    check_values(brush, statistics)
    for name in ("brush.npz", "brush.json"):
        write_trajectory(tmp_path / name, brush)
        np.testing.assert_array_equal(read_trajectory(tmp_path / name).values, brush.values)
    assert Overlay(brush, (32, 32)).draw(np.zeros((32, 32, 3), np.uint8), 2.0).any()
    assert "**`brush`**, width 4, 60 rows/s" in layouts.table()
