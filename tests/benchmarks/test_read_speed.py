import re

import numpy as np
import pytest
import read_speed

from vgen.errors import InputError


@pytest.fixture
def few(monkeypatch):
    """Short films of one kind, few clips."""
    monkeypatch.setattr(read_speed, "FRAMES", 40)
    monkeypatch.setattr(read_speed, "CLIPS", 2)
    monkeypatch.setattr(read_speed, "LOOPS", 3)
    monkeypatch.setattr(read_speed, "QUICK", ("h264_g8_b0",))


def test_all_readers_are_measured_on_the_same_film(few, monkeypatch, capsys):
    monkeypatch.setattr(read_speed, "memory", lambda path: (len(read_speed.VideoFile(path).times), 1.0))
    read_speed.main(["--quick"])
    text = capsys.readouterr().out
    for reader in ("vgen", "decord", "pyav"):
        assert re.search(rf"256x256 h264_g8_b0 +{reader} +\d+ .*100\.0 %", text)
    assert "vgen over decord, where decord is right" in text
    assert "a film of 1 s" in text and "a film of 4 s" in text


def test_own_videos_are_measured_and_not_changed(few, tmp_path, capsys):
    path = read_speed.make_film(tmp_path / "a.mp4", read_speed.FILMS["h264_g8_b0"], (64, 96), 20)
    before = path.read_bytes()
    read_speed.main(["--videos", str(tmp_path), "--rounds", "1"])
    text = capsys.readouterr().out
    assert re.search(r"a\.mp4 +vgen +\d+ .*100\.0 %", text) and "memory" not in text
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("numbered", [True, False])
def test_a_frame_that_was_not_asked_for_is_not_right(tmp_path, numbered):
    path = read_speed.make_film(tmp_path / "a.mp4", read_speed.FILMS["h264_g8_b0"], (64, 96), 20)
    truth, frames = read_speed.Truth(path, numbered), read_speed.VideoFile(path).read(range(20))
    assert truth.right(range(20), frames) == 20
    assert truth.right(range(19), frames[1:]) == 0


def test_a_reader_that_fails_or_errs_is_told(few, tmp_path, monkeypatch):
    def broken(_):
        raise RuntimeError("first line\nno such codec")

    monkeypatch.setitem(read_speed.READERS, "decord", broken)
    monkeypatch.setitem(
        read_speed.READERS, "pyav", lambda path: lambda numbers: np.zeros((len(numbers), 64, 96, 3), "u1")
    )
    path = read_speed.make_film(tmp_path / "a.mp4", read_speed.FILMS["h264_g8_b0"], (64, 96), 20)
    results = read_speed.measure(path, 20, read_speed.Truth(path, True), rounds=1)
    lines = read_speed.rows("a", results, 0.0)
    assert "no such codec" in lines[1] and results["vgen"].right == results["vgen"].frames == 20 + 2 * 17
    assert results["pyav"].right < 5


def test_a_looped_film_goes_on_with_its_first_frame(few, tmp_path):
    path = read_speed.make_film(tmp_path / "a.mp4", read_speed.FILMS["h264_g8_b0"], (64, 96), 20)
    file = read_speed.VideoFile(read_speed.loop_film(path, tmp_path / "b.mp4", 3))
    assert [read_speed.number_of(frame) for frame in file.read(range(60))] == [*range(20)] * 3
    assert np.allclose(np.diff(file.times), 1 / 30)


def test_memory_is_measured_in_a_process_of_its_own(tmp_path):
    path = read_speed.make_film(tmp_path / "a.mp4", read_speed.FILMS["h264_g8_b0"], (64, 96), 20)
    frames, grown = read_speed.memory(path)
    assert frames == 20 and 0 < grown < 500


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rounds", "0"], "--rounds 0 must be 1 or more"),
        (["--rounds", "x"], "invalid int"),
        (["--sizes", "big"], "--sizes big is not WIDTHxHEIGHT"),
        (["--sizes", "32x32"], "of 64 or more"),
        (["--videos", "."], "holds no video"),
        (["--videos", "nowhere"], "holds no video"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=words):
        read_speed.main(arguments)
