import numpy as np

from vgen.models.picture_probe import means_of
from vgen.train.objectives.trained_on import range_of_pictures


def test_scenes_are_told_apart_and_a_hand_is_found_in_its_own():
    rng = np.random.default_rng(0)
    where = rng.random((200, 3))
    arm = np.c_[where, np.ones(200), np.zeros((200, 4))]
    hand = np.c_[rng.random((100, 3)), -np.ones(100), np.zeros((100, 4))]
    bodies = [
        ("position4", arm[:150], where[:150]),
        ("position4", arm[150:], where[150:]),
        ("pose7", hand, hand[:, :3]),
    ]
    known = range_of_pictures(bodies)
    assert known.hands.keys() == known.scenes.keys() == {"position4", "pose7"}
    assert np.abs(known.hands["position4"].answer(means_of(arm[0])) - where[0]).max() < 0.05
    assert all(known.scenes["position4"].answer(one)[0] > 0.9 for one in arm)
    assert all(known.scenes["position4"].answer(one)[0] < 0.1 for one in hand)
    alone = range_of_pictures(bodies[:2])
    assert alone.hands.keys() == {"position4"} and not alone.scenes
    beside = range_of_pictures(bodies[:2], others=hand)  # drawn pictures, which are no body's
    assert beside.scenes.keys() == {"position4"} and beside.scenes["position4"].answer(hand[0])[0] < 0.1
    empty = ("pose7", np.zeros(0), np.zeros(0))
    assert range_of_pictures([empty]) == range_of_pictures([])
