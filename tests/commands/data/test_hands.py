"""`vgen data hands`, and what a user can get wrong in it."""

from pathlib import Path

import numpy as np
import pytest
from hands import SIZE, Scene, Scripted, moving

from vgen.commands import data
from vgen.errors import InputError
from vgen.media.writing import write_video
from vgen.sources.hands import mediapipe
from vgen.trajectory.files import read_trajectory

FRAMES = 20


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the command in a folder with two videos."""
    monkeypatch.chdir(tmp_path)
    scene = Scene(moving(FRAMES), away={0: set(range(FRAMES)), 1: set()}, swapped={7, 8})
    monkeypatch.setattr(mediapipe, "load", lambda: lambda: Scripted(scene.sightings()))
    Path("videos").mkdir()
    for place in ("videos/wave.mp4", "cup.mp4"):
        write_video(place, np.zeros((FRAMES, *SIZE, 3), np.uint8), 20)
    return lambda *options: data.main(["hands", *options])


def test_a_video_becomes_a_data_set_with_a_table_and_a_trajectory(run, capsys):
    run("cup.mp4", "--out", "set", "--trajectory", "cup.npz", "--text", "take the cup")
    printed = capsys.readouterr().out.splitlines()
    row = next(line.split() for line in printed if line.startswith("cup "))
    assert row == ["cup", "20", "1.0", "0%", "100%", "0", "2", "28", "(assumed)"]
    trajectory = read_trajectory("cup.npz")
    assert (trajectory.layout, len(trajectory)) == ("keypoints", FRAMES)
    assert trajectory.times[-1] == pytest.approx((FRAMES - 1) / 20)
    assert "wrote cup.npz" in printed


def test_files_and_folders_are_taken_together_once_each(run, capsys):
    run("videos", "cup.mp4", "videos/wave.mp4", "--out", "set", "--splits", "test=0")
    printed = capsys.readouterr().out
    assert "2 of 2 takes: 40 frames at 20/s" in printed
    assert "videos/wave" in printed


@pytest.mark.parametrize(
    "options, names",
    [
        (("cpu.mp4", "--out", "set"), "cpu.mp4 does not exist; did you mean cup.mp4?"),
        (("cup.mp4", "videos", "--out", "set", "--trajectory", "a.npz"), "is of one video and 2 are given"),
        (("cup.mp4", "--out", "set", "--trajectory", "a.csv"), "a.csv is neither .npz nor .json; nearest: a.npz"),
        (("cup.mp4", "--out", "set", "--layout", "keypoint"), "nearest: 'keypoints'"),
        (("cup.mp4", "--out", "set", "--focal", "wide"), "focal=wide is not a number of millimetres"),
        (("empty", "--out", "set"), "empty holds no video; name one, or a folder of them"),
        (("broken.mp4", "--out", "set"), "broken.mp4: not a readable video file"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_tracked(run, options, names):
    Path("empty").mkdir()
    Path("broken.mp4").write_text("no video\n" * 20)
    with pytest.raises(InputError) as caught:
        run(*options)
    assert names in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path("set").exists()


def test_a_video_without_hands_is_one_line(run, monkeypatch):
    monkeypatch.setattr(mediapipe, "load", lambda: lambda: Scripted([[]] * FRAMES))
    with pytest.raises(InputError, match="no hand is seen in it"):
        run("cup.mp4", "--out", "set")
