from dataclasses import replace

import numpy as np
import pytest
from ego_models import hand
from trajectory_samples import LAYOUT_NAMES, sample

from vgen.media.sheet import ACCENT
from vgen.trajectory.convert import convert, to_delta
from vgen.trajectory.overlay import Overlay
from vgen.trajectory.trajectory import Trajectory

BLACK = np.zeros((32, 64, 3), np.uint8)


def on_clock(trajectory):
    return replace(trajectory, times=trajectory.times - trajectory.times[0])


@pytest.mark.parametrize("form", ["absolute", "delta"])
@pytest.mark.parametrize("name", LAYOUT_NAMES)
def test_every_layout_is_drawn(name, form):
    overlay = Overlay(on_clock(convert(sample(name), form)), (32, 64))
    drawn = overlay.draw(BLACK, 1.0)
    assert drawn.shape == (*overlay.size, 3) and drawn.dtype == np.uint8
    assert overlay.size[0] == 384 and overlay.size[1] % 2 == 0 and (overlay.size[1] == 768) == overlay.on_image
    assert drawn.any() and not np.array_equal(drawn, overlay.draw(BLACK, 0.2))


def test_boxes_are_drawn_where_they_are():
    left, right = [0.25, 0.25, 0.5, 0.75], [0.6, 0.1, 0.9, 0.4]
    boxes = Trajectory([[*left, *right, 1, 0]] * 2, [0.0, 1.0], layout="hand_boxes")
    overlay = Overlay(boxes, (32, 64))
    assert overlay.panels_at == 0
    drawn = overlay.draw(BLACK, 0.5)
    rows, columns = np.nonzero(drawn.any(2))
    assert abs(rows.min() - 0.25 * 384) < 4 and abs(rows.max() - 0.75 * 384) < 4
    assert abs(columns.min() - 0.25 * 768) < 4 and abs(columns.max() - 0.5 * 768) < 4  # the right hand is not seen
    assert not drawn[150:250, 250:350].any()  # it is a frame around the hand


def spots(drawn):
    """Where the colour of the line is."""
    return np.argwhere((drawn == ACCENT).all(2))


def test_the_present_moves_along_the_path():
    time = np.arange(21) / 20
    away = Trajectory(np.stack([0 * time, time, 0 * time, time], 1), time, layout="position4")
    overlay = Overlay(away, (64, 64))
    early, late = (spots(overlay.draw(np.zeros((64, 64, 3), np.uint8), seconds)) for seconds in (0.1, 1.0))
    assert late[:, 0].min() < early[:, 0].min() - 40  # y goes up in the view from above
    assert len(late) > len(early)


@pytest.mark.parametrize("size", [(32, 64), (64, 32), (500, 400)])
def test_a_frame_is_left_whole_beside_its_panels(size):
    overlay = Overlay(on_clock(hand()), size)
    drawn = overlay.draw(np.full((*size, 3), 77, np.uint8), 0.5)
    width = size[1] * overlay.size[0] // size[0]
    assert (drawn[:, :width] == 77).all() and not (drawn[:, width:] == 77).all(2).any()
    assert (drawn[-4:, width:] == drawn[-1, -1]).all()  # no panel is cut off
    assert overlay.panels_at == width


def test_steps_are_drawn_as_the_path_that_they_make():
    path = on_clock(hand())
    drawn = [Overlay(each, (64, 64)) for each in (path, to_delta(path))]
    places = [next(iter(overlay._paths.values())).places for overlay in drawn]
    assert np.allclose(places[0] - places[0][0], places[1] - places[1][0], atol=1e-5)


def test_a_trajectory_of_which_nothing_is_known_leaves_the_frame():
    lost = Trajectory(np.full((3, 4), np.nan), np.arange(3.0), np.zeros(3, bool), "position4")
    assert not Overlay(lost, (32, 64)).draw(BLACK, 1.0).any()
    assert Overlay(hand(rows=1), (32, 64)).draw(BLACK, 0.0).any()
