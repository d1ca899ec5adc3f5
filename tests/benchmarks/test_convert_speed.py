import json
import sys

import av
import convert_speed
import numpy as np
import pytest
from PIL import Image

from vgen.errors import InputError
from vgen.media.writing import write_video

FRAMES = 12


@pytest.fixture
def clips(tmp_path):
    """Two takes of twelve frames, with a trajectory each."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("a", "b"):
        shade = (20 * np.arange(FRAMES)).astype(np.uint8)
        write_video(folder / f"{name}.mp4", np.broadcast_to(shade[:, None, None, None], (FRAMES, 32, 48, 3)), 10)
        rows = [f"{k / 10:.3f},{k / 10:.3f},0.5,{-k / 20},1" for k in range(FRAMES)]
        (folder / f"{name}.csv").write_text("\n".join(["time,x,y,z,gripper", *rows]))
    return folder


def call(monkeypatch, *options):
    monkeypatch.setattr(sys, "argv", ["convert_speed.py", *map(str, options)])
    convert_speed.main()


def test_both_count_the_frames_that_they_touch(clips, tmp_path, monkeypatch, capsys):
    given = ["folder", "--from", clips, "--layout", "position4", "--size", "16x16", "--repeats", "2"]
    call(monkeypatch, *given, "--out", tmp_path / "speed.json")
    results = json.loads((tmp_path / "speed.json").read_text())
    assert [(turn["frames"], turn["plain_frames"]) for turn in results["turns"]] == [(2 * FRAMES, 2 * FRAMES)] * 2
    assert results["ratio"] > 0 and "plainly decoded" in capsys.readouterr().out
    assert sorted(file.name for file in tmp_path.iterdir()) == ["clips", "speed.json"], "what is made is removed"


def test_images_are_decoded_and_what_is_none_is_passed_over(clips, monkeypatch):
    Image.new("RGB", (8, 8)).save(clips / "c.JPG")
    (clips / "d.png").write_bytes(b"no image")
    (clips / "e.mp4").write_bytes(b"no video")
    with av.open(str(clips / "sound.mp4"), "w") as container:
        sound = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        container.mux([*sound.encode(frame), *sound.encode()])
    assert convert_speed.decoded(clips) == 2 * FRAMES + 1
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 8)
    assert convert_speed.decoded(clips) == 2 * FRAMES, "a picture of too many pixels"


def test_a_source_without_pictures_says_so():
    turn = {"frames": 5, "seconds": 1.0, "plain_frames": 0, "plain_seconds": 0.1}
    results = {"settings": {"source": "libero"}, "turns": [turn], "frames_per_second": 5.0, "ratio": None}
    assert "there is no plain decoding" in convert_speed.table(results)


def test_what_cannot_be_asked_is_one_line(clips, monkeypatch):
    with pytest.raises(InputError, match="delay is not KEY=VALUE"):
        call(monkeypatch, "folder", "delay", "--from", clips)
    with pytest.raises(InputError, match="--repeats 0 must be 1 or more"):
        call(monkeypatch, "folder", "--from", clips, "--repeats", 0)
