import numpy as np
from hands import Scene, moving

from vgen.sources.hands.identity import choose_sides

FPS = 30


def wrists(scene, chosen):
    """[2, T] how far, in pixels, the wrist of each chosen hand is from that of the true one."""
    frames = scene.sightings()
    from hands import seen

    true = seen(scene.hands)[:, :, 0]
    far = np.full(chosen.shape, np.nan)
    for hand, number in np.argwhere(chosen >= 0):
        far[hand, number] = np.linalg.norm(frames[number][chosen[hand, number]].spots[0] - true[hand, number])
    return far


def test_sides_are_those_of_the_hands():
    scene = Scene(moving(60))
    sides = choose_sides(scene.sightings(), FPS)
    assert sides.swaps == 0
    assert wrists(scene, sides.chosen).max() < 1e-9


def test_a_swap_for_some_frames_is_mended():
    scene = Scene(moving(90), swapped=set(range(30, 45)))
    sides = choose_sides(scene.sightings(), FPS)
    assert sides.swaps == 15
    assert wrists(scene, sides.chosen).max() < 1e-9


def test_identity_is_kept_through_crossings_at_which_the_detector_errs():
    crossings = {number for middle in (30, 90) for number in range(middle - 6, middle + 7)}
    scene = Scene(moving(120, crossing=True), swapped=crossings)
    sides = choose_sides(scene.sightings(), FPS)
    far = wrists(scene, sides.chosen)
    assert sides.swaps == len(crossings)
    assert far.max() < 1e-9


def test_hands_that_meet_unseen_are_told_apart_by_what_follows():
    both = set(range(25, 36))
    scene = Scene(moving(120, crossing=True), away={0: both, 1: both})
    sides = choose_sides(scene.sightings(), FPS)
    assert (sides.chosen[:, 25:36] == -1).all()
    assert np.nanmax(wrists(scene, sides.chosen)) < 1e-9


def test_the_vote_of_a_whole_track_decides_for_a_single_hand():
    scene = Scene(moving(60), away={0: set(range(60)), 1: set()}, swapped=set(range(0, 60, 3)) | set(range(40, 55)))
    sides = choose_sides(scene.sightings(), FPS)
    assert (sides.chosen[0] == -1).all()
    assert (sides.chosen[1] == 0).all()


def test_one_hand_that_is_seen_twice_is_one_hand():
    scene = Scene(moving(30), away={0: set(range(30)), 1: set()})
    frames = [[found[0], found[0]] for found in scene.sightings()]
    sides = choose_sides(frames, FPS)
    assert (sides.chosen[0] == -1).all()
    assert (sides.chosen[1] == 0).all()


def test_no_hands_at_all():
    sides = choose_sides([[], [], []], FPS)
    assert (sides.chosen == -1).all()
    assert sides.swaps == 0
