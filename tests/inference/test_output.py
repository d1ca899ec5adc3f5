import errno
import hashlib
import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest

from vgen.errors import InputError, TryAgain
from vgen.inference.output import whole_folder, write_frames
from vgen.media.video import read_video, video_info
from vgen.media.writing import join_videos, write_video


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
        pytest.raises(InputError, match=r"out=.*out cannot be written: Is a directory \(.*video.txt\)"),
        whole_folder(tmp_path / "out") as folder,
    ):
        (folder / "video.txt").write_text("new")
        (folder / "run.json").write_text("new")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["video.txt"]


def test_a_full_disk_is_one_line_and_frees_what_was_written(tmp_path):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with (
        pytest.raises(TryAgain, match=r"^out=.*out cannot be written: No space left on device; make room, then start"),
        whole_folder(tmp_path / "out") as folder,
    ):
        (folder / "half.txt").write_text("half")
        raise full
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError), whole_folder(tmp_path / "out"):
        Path("absent").read_text()  # which has nothing to do with the results


def test_results_have_the_rights_of_the_users_umask(tmp_path):
    before = os.umask(0o002)
    try:
        with whole_folder(tmp_path / "out") as folder:
            (folder / "below").mkdir()
            write_video(folder / "below" / "video.mp4", np.zeros((5, 16, 16, 3), np.uint8), 15)
    finally:
        os.umask(before)
    places = ("out", "out/below", "out/below/video.mp4")
    assert [(tmp_path / place).stat().st_mode & 0o777 for place in places] == [0o775, 0o775, 0o664]


def test_a_video_that_the_disk_does_not_hold(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (40, 64, 64, 3), dtype=np.uint8)
    write_video(tmp_path / "whole.mp4", noise, 15)
    most, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 15, most[1]))
    try:
        with pytest.raises(TryAgain, match=r"part.mp4 cannot be written: File too large"):
            write_video(tmp_path / "part.mp4", noise, 15)
        with pytest.raises(TryAgain, match=r"part.mp4 cannot be written: File too large"):
            join_videos([tmp_path / "whole.mp4"], tmp_path / "part.mp4")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
        signal.signal(signal.SIGXFSZ, handler)
    assert [path.name for path in tmp_path.iterdir()] == ["whole.mp4"]
    with pytest.raises(InputError, match="No such file or directory"):
        write_video(tmp_path / "absent" / "video.mp4", noise, 15)


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
