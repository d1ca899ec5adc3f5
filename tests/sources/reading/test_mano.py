import pickle

import made_mano
import numpy as np
import pytest

from vgen.errors import InputError
from vgen.sources.reading.mano import FILES, ManoHand, read_hands

ORDER = [0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20]


def test_keypoints_are_the_joints_and_tips_of_the_skinned_hand(tmp_path):
    made, noise = made_mano.arrays(), np.random.default_rng(3)
    made_mano.write(tmp_path / "MANO_RIGHT.pkl", made)
    turn, pose, move = noise.normal(0, 1, (3, 3)), noise.normal(0, 0.5, (3, 45)), noise.normal(0, 1, (3, 3))
    shape = noise.normal(0, 1, 10)
    found = ManoHand.read(tmp_path / "MANO_RIGHT.pkl").keypoints(turn, pose, move, shape)
    for row in range(3):
        joints, vertices = made_mano.joints_and_vertices(made, turn[row], pose[row], move[row], shape)
        expected = np.concatenate([joints, vertices[[744, 320, 443, 554, 671]]])[ORDER]
        assert np.abs(found[row] - expected).max() < 1e-12


def test_both_hands_are_read_from_the_folder_or_its_folder_mano(tmp_path):
    for number, name in enumerate(FILES.values()):
        made_mano.write(tmp_path / "mano" / name, made_mano.arrays(number))
    hands = read_hands(tmp_path)
    assert np.allclose(hands["right"].tips, made_mano.arrays(1)["v_template"][[744, 320, 443, 554, 671]])


def test_files_that_are_no_model_are_refused_and_do_not_run(tmp_path):
    with pytest.raises(InputError, match=r"MANO_LEFT\.pkl is no MANO model \(its pickle is missing"):
        read_hands(tmp_path)
    path = tmp_path / "MANO_LEFT.pkl"
    path.write_bytes(pickle.dumps({"v_template": np.zeros((5, 3))}))
    with pytest.raises(InputError, match="KeyError: 'shapedirs'"):
        ManoHand.read(path)
    path.write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR.")
    with pytest.raises(InputError, match=r"asks for what is not data: (os|posix)\.system"):
        ManoHand.read(path)
    assert not (tmp_path / "ran").exists()
