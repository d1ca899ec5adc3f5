import os
from pathlib import Path

import pytest

from vgen.errors import InputError
from vgen.inference.ego.spec import RolloutSpec, Start, parse_start
from vgen.media.patch import Patch


@pytest.mark.parametrize(
    "text, start",
    [
        ("frame.png", Start("frame.png")),
        ("a@3/clip.mp4", Start("a@3/clip.mp4")),
        ("clip.mp4@16", Start("clip.mp4", 16)),
        ("c:/d/clip.x.mp4@0", Start("c:/d/clip.x.mp4", 0)),
        ("data/d:episode=3", Start("data/d", None, 3)),
        ("data/d:episode=3:frame=16:split=test:camera=left", Start("data/d", 16, 3, "test", "left")),
        ("data/d:split=test:episode=3", Start("data/d", None, 3, "test")),
    ],
)
def test_a_start_in_text(text, start):
    assert parse_start(text) == start


def test_a_question_comes_back_from_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = RolloutSpec(
        parse_start("data/d:episode=3:frame=16:split=test"),
        text="open it",
        frames=8,
        fps=5.0,
        seed=3,
        trajectory="hand.npz",
        at=0.5,
        edits=("mirror=x", "stop@0.2"),
        layout="position4",
        goals=(Patch("goal.png", 6, (0, 0, 0.5, 1), "mask.png"),),
    )
    written = asked.to_dict(tmp_path / "runs/first")
    assert written["start"]["path"] == "../../data/d" and written["trajectory"] == "../../hand.npz"
    again = RolloutSpec.from_dict(written, "runs/first")
    assert Path(again.start.path).resolve() == tmp_path / "data/d"
    assert os.path.normpath(again.goals[0].mask) == "mask.png"
    assert again.to_dict(tmp_path / "runs/first") == written
    assert Path(again.trajectory).resolve() == tmp_path / "hand.npz" and again.layout == "position4"


@pytest.mark.parametrize(
    "change, message",
    [
        ({"start": None}, "the start must be a mapping"),
        ({"start": {"frame": 3}}, "the start has no path"),
        ({"start": {"path": "a.png", "frame": -1}}, "frame=-1"),
        ({"start": {"path": "a.png", "farme": 1}}, "nearest: 'frame'"),
        ({"mode": "plan"}, "mode=plan must be one of forward, policy, inverse"),
        ({"edits": [3]}, "edit=3 must be text"),
        ({"trajectory": 3}, "trajectory=3 must be text"),
        ({"seeed": 3}, "nearest: 'seed'"),
    ],
)
def test_a_record_that_was_edited_is_checked_like_any_input(change, message):
    data = {"start": {"path": "a.png"}, "trajectory": "hand.npz"} | change
    with pytest.raises(InputError, match=message):
        RolloutSpec.from_dict(data, "")
