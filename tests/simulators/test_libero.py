"""The scripted hand for LIBERO's scenes: where it takes hold of things, in an environment that only has geometry."""

from types import SimpleNamespace

import numpy as np
import pytest

from vgen.simulators.libero import JAW, _corners, _grasp, _middle

BOX = 6  # MuJoCo's number of that type of geometry


def thing(size, yaw=0.0, place=(0.1, 0.2, 0.9), middle=(0.0, 0.0, 0.0)):
    """An environment with one thing, a box of half sizes, and a region."""
    turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    model = SimpleNamespace(
        body_rootid=np.array([0, 1]),
        geom_bodyid=np.array([0, 1, 1]),
        geom_contype=np.array([1, 1, 0]),
        geom_type=np.array([BOX, BOX, BOX]),
        geom_size=np.array([[9.0, 9, 9], size, [9, 9, 9]]),
        geom_rbound=np.ones(3),
        site_name2id=lambda name: ["shelf"].index(name),
    )
    data = SimpleNamespace(
        geom_xpos=np.array([[0, 0, 0], np.add(place, turn @ middle), [0, 0, 0]]),
        geom_xmat=np.stack([np.eye(3).ravel(), turn.ravel(), np.eye(3).ravel()]),
        body_xpos=np.array([[0, 0, 0], place]),
        site_xpos=np.array([[0.4, 0.5, 1.1]]),
    )
    return SimpleNamespace(env=SimpleNamespace(obj_body_id={"box": 1}), sim=SimpleNamespace(model=model, data=data))


def test_the_box_about_a_thing_is_of_what_collides_of_it_alone():
    corners = _corners(thing((0.01, 0.02, 0.03)), "box")
    np.testing.assert_allclose(np.ptp(corners, axis=0), [0.02, 0.04, 0.06])
    np.testing.assert_allclose(corners.mean(0), [0.1, 0.2, 0.9])
    np.testing.assert_allclose(_middle(thing((1, 1, 1)), "shelf"), [0.4, 0.5, 1.1])
    np.testing.assert_allclose(_corners(thing((1, 1, 1)), "shelf"), [[0.4, 0.5, 1.1]])


@pytest.mark.parametrize("yaw", [-0.7, 0.0, 0.35, 1.0])
def test_a_narrow_box_is_held_across_its_narrow_side_in_its_middle(yaw):
    grasp = _grasp(_corners(thing((0.08, 0.02, 0.05), yaw), "box"), np.random.default_rng(0))
    assert abs(grasp.yaw - yaw) < np.radians(6)
    np.testing.assert_allclose(grasp.place[:2], [0.1, 0.2], atol=1e-9)
    assert 0.85 < grasp.place[2] < 0.95


def test_what_is_wider_than_the_hand_opens_is_held_at_its_rim_on_either_side():
    assert JAW < 2 * 0.06
    rng = np.random.default_rng(0)
    corners = _corners(thing((0.06, 0.06, 0.03)), "box")
    sides = {round(float(_grasp(corners, rng).place[1] - 0.2), 4) for _ in range(20)}
    assert sides == {-0.054, 0.054}
