"""Tests of which clips a bench is made of, and of what is said of the others."""

import numpy as np
import pytest
from bench_sets.choice import choose
from bench_sets.looks import Look, Looks
from bench_sets.nearest import nearest, nothing_chosen, reasons
from bench_sets.recordings import by_turns, find_recordings
from bench_sets.settings import BuildSettings
from lerobot_folders import numbers_of, write_plain
from made_recordings import recording

from vgen.errors import InputError

SETTINGS = BuildSettings(frames=9, height=16, width=16, clips=10, min_sharpness=100, min_flow=1)


@pytest.fixture
def search(tmp_path, monkeypatch):
    """Chooses among recordings whose frames tell their sharpness, their flow and a cut as their three colours."""
    monkeypatch.setattr("bench_sets.choice.look", lambda clip: Look(float(clip[0, 0, 0, 0]), *told(clip[0, 0, 0])))
    file = tmp_path / "file"
    file.touch()

    def told(colour):
        return float(colour[1]) / 10, bool(colour[2])

    def run(videos, settings=SETTINGS, **changes):
        made = [recording(name, video, file=file, **changes) for name, video in videos.items()]
        return choose(made, settings, Looks(tmp_path / "looks.jsonl"))

    return run


def telling(frames, sharpness=200, flow=20, cut=0):
    return np.broadcast_to(np.uint8([sharpness, flow, cut]), (frames, 16, 16, 3)).copy()


def test_clips_are_left_out_by_their_reason(search):
    videos = {"good": telling(9), "blurred": telling(9, 50), "still": telling(9, 200, 3), "cut": telling(9, cut=1)}
    found = search(videos | {"short": telling(8)})
    assert [clip.recording.name for clip in found.chosen] == ["good"]
    assert found.left_out() == {"videos": {"short": 1}, "clips": {"blurred": 1, "cut": 1, "still": 1}}
    assert "1 clip is still (flow under 1 pixels a frame)" in reasons(found, SETTINGS)
    assert nearest(found, SETTINGS) == (
        "--min-sharpness 50; all 3 that were looked at: --min-sharpness 50 --min-flow 0.3"
    )


def test_videos_take_turns_and_give_clips_without_a_common_frame(search):
    settings = BuildSettings(frames=9, height=16, width=16, clips=5, per_video=3, min_sharpness=0, min_flow=0)
    found = search({"long": telling(30), "short": telling(20)}, settings)
    assert [clip.recording.name for clip in found.chosen] == ["long", "short", "long", "short", "long"]
    assert [clip.frames[0] for clip in found.chosen if clip.recording.name == "long"] == [10, 1, 19]
    assert [clip.frames[0] for clip in found.chosen if clip.recording.name == "short"] == [10, 1]
    assert len(search({"long": telling(30)}, BuildSettings(9, 15, 16, 16, clips=2, min_flow=0)).chosen) == 1


def test_a_worse_clip_is_passed_over_for_another_of_the_video(search):
    video = np.concatenate([telling(9), telling(9, 3), telling(9)])
    found = search({"one": video})
    assert [clip.frames[0] for clip in found.chosen] == [0] and found.left_clips == {"blurred": 1}


def test_frames_are_taken_at_the_rate_of_the_bench(search):
    found = search({"fast": telling(40)}, fps=60.0)
    assert np.diff(found.chosen[0].frames).tolist() == [4] * 8
    slow = search({"slow": telling(40)}, fps=10.0)
    assert slow.left_out()["videos"] == {"slow": 1} and nearest(slow, SETTINGS) == "--fps 10"


def test_short_videos_are_told_what_they_could_give(search):
    settings = BuildSettings()
    found = search({"a": telling(30), "b": telling(44)}, settings)
    assert str(nothing_chosen(found, settings)) == (
        "none of 2 videos gives a clip: 2 videos are shorter than 5.07 s (77 frames at 15 fps); "
        "nearest: --frames 41, as the longest has"
    )
    shorter = search({"a": telling(5)}, settings)
    assert nearest(shorter, settings) == "videos of 0.6 s, with --frames 9"
    long = BuildSettings(9, 15, 16, 16, min_seconds=9)
    assert nearest(search({"a": telling(20)}, long), long) == "--min-seconds 0"


def test_a_clip_that_cannot_be_read_is_left_out(search, tmp_path, caplog):
    def broken(frames):
        raise InputError("it breaks off")

    good = recording("good", telling(9), file=tmp_path / "file")
    bad = type(good)("bad", "", lambda: (9, 15.0), broken, tmp_path / "file")
    gone = type(good)("gone", "", lambda: broken(0), broken, tmp_path / "file")
    found = choose([bad, gone, good], SETTINGS, Looks(tmp_path / "looks"))
    assert [clip.recording.name for clip in found.chosen] == ["good"]
    assert found.left_out() == {"videos": {"unreadable": 1}, "clips": {"unreadable": 1}}
    assert "left out: bad cannot be read from frame 0 on: it breaks off" in caplog.text


def test_captions_take_turns_in_an_order_that_is_drawn():
    made = [recording(f"{n}", telling(1), caption="ab"[n % 3 > 0]) for n in range(9)]
    order = by_turns(made, 0)
    assert sorted(each.name for each in order) == [each.name for each in made]
    assert [each.name for each in order] == [each.name for each in by_turns(made, 0)]
    assert [each.name for each in order] != [each.name for each in by_turns(made, 1)]
    assert {each.caption for each in order[:2]} == {"a", "b"}
    assert [each.caption for each in order[-3:]] == ["b"] * 3


def test_episodes_of_a_data_set_are_recordings(tmp_path):
    folder = write_plain(tmp_path / "set")
    first, second, _ = find_recordings(folder, split="train")
    assert (first.name, first.caption, first.facts()) == ("episode 0", "open it", (6, 10))
    assert numbers_of(second.read([1, 3], (16, 32))) == [7, 9]
    assert first.sha256 == second.sha256
    with pytest.raises(InputError, match="--captions is of a folder of videos"):
        find_recordings(folder, captions=tmp_path / "captions.csv")
    with pytest.raises(InputError, match="is not in the cameras of"):
        find_recordings(folder, camera="back", split="train")


def test_options_of_a_data_set_are_refused_for_a_folder(tmp_path):
    with pytest.raises(InputError, match=r"--camera is of a LeRobot data set, and .* is a folder of videos"):
        find_recordings(tmp_path, camera="front")
    with pytest.raises(InputError, match=r"--videos .*absent is no folder"):
        find_recordings(tmp_path / "absent")
