import hashlib
import os
import signal

import numpy as np
import pytest

from vgen.data.output import whole_folder, write_frames
from vgen.errors import InputError
from vgen.media.video import read_video, video_info
from vgen.media.writing import write_video


def test_a_folder_is_whole_or_not_there(tmp_path):
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "runs/first") as folder:
        (folder / "half.txt").write_text("half")
        raise RuntimeError
    assert list((tmp_path / "runs").iterdir()) == []
    with whole_folder(tmp_path / "runs/first") as folder:
        (folder / "whole.txt").write_text("whole")
        assert not (tmp_path / "runs/first").exists()
    assert (tmp_path / "runs/first/whole.txt").read_text() == "whole"
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["first"]


def test_a_process_that_is_told_to_stop_leaves_nothing_behind(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stop, whole_folder(tmp_path / "out") as folder:
        (folder / "half.txt").write_text("half")
        os.kill(os.getpid(), signal.SIGTERM)
    assert stop.value.code == 143 and not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_run_replaces_its_files_and_no_others(tmp_path):
    (tmp_path / "out").mkdir()
    for name in ("video.txt", "notes.txt"):
        (tmp_path / "out" / name).write_text("old")
    with whole_folder(tmp_path / "out") as folder:
        (folder / "video.txt").write_text("new")
    assert {path.name: path.read_text() for path in (tmp_path / "out").iterdir()} == {
        "video.txt": "new",
        "notes.txt": "old",
    }


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(InputError, match=r"out=.*file.* cannot be written"), whole_folder(place):
            pass


def test_a_folder_that_is_there_may_be_on_another_disk(tmp_path):
    (tmp_path / "out").mkdir()
    with whole_folder(tmp_path / "out") as folder:
        assert folder.parent == tmp_path / "out"
        (folder / "video.txt").write_text("new")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["video.txt"]


def test_files_that_cannot_be_moved_are_said_in_one_line(tmp_path):
    (tmp_path / "out/video.txt").mkdir(parents=True)
    with (
        pytest.raises(InputError, match=r"out=.*out cannot be written: .*video.txt: Is a directory"),
        whole_folder(tmp_path / "out") as folder,
    ):
        (folder / "video.txt").write_text("new")
        (folder / "run.json").write_text("new")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["video.txt"]


def test_frames_are_written_as_they_come(tmp_path):
    ramp = np.repeat(np.arange(0, 240, 10, dtype=np.uint8), 32 * 64 * 3).reshape(24, 32, 64, 3)
    parts_seen = []

    def chunks():
        for start, stop in ((0, 17), (17, 18), (18, 24)):
            yield ramp[start:stop]
            parts_seen.append(len(list(tmp_path.iterdir())))

    kept, digest = write_frames(chunks(), tmp_path / "video.mp4", 15, keep={0, 17, 23}, total=24)
    assert parts_seen == [1, 2, 3] and [path.name for path in tmp_path.iterdir()] == ["video.mp4"]
    assert sorted(kept) == [0, 17, 23] and all(np.array_equal(kept[index], ramp[index]) for index in kept)
    assert digest == hashlib.sha256(ramp.tobytes()).hexdigest()
    read = read_video(tmp_path / "video.mp4")
    assert video_info(tmp_path / "video.mp4").fps == 15 and len(read) == 24
    assert np.abs(read.astype(int) - ramp).max() <= 3
    write_video(tmp_path / "once.mp4", ramp, 15)
    assert len(read_video(tmp_path / "once.mp4")) == 24
