"""vgen/results.py: nothing is written over unasked, and what is, is replaced whole."""

import errno
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest

from vgen import results
from vgen.errors import InputError, TryAgain
from vgen.files import aside
from vgen.media.writing import write_video
from vgen.results import DATASET, MODEL, VIDEO_RUN, check_file, check_folder, results_folder


def test_a_folder_is_whole_or_not_there(tmp_path):
    with pytest.raises(RuntimeError), results_folder(tmp_path / "runs/first", VIDEO_RUN) as folder:
        (folder / "half.txt").write_text("half")
        raise RuntimeError
    assert list((tmp_path / "runs").iterdir()) == []
    with results_folder(tmp_path / "runs/first", VIDEO_RUN) as folder:
        (folder / "whole.txt").write_text("whole")
        assert not (tmp_path / "runs/first").exists()
    assert (tmp_path / "runs/first/whole.txt").read_text() == "whole"
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["first"]


def test_the_folder_where_one_stands_is_a_folder_like_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with results_folder(".", VIDEO_RUN) as folder:
        (folder / "run.json").write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    assert aside(".").parent == tmp_path.parent and aside(".").name.startswith(f".{tmp_path.name}.")


def test_a_process_that_is_told_to_stop_leaves_nothing_behind(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stop, results_folder(tmp_path / "out", VIDEO_RUN) as folder:
        (folder / "half.txt").write_text("half")
        os.kill(os.getpid(), signal.SIGTERM)
    assert stop.value.code == 143 and not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGTERM) is before


def old_run(folder: Path) -> None:
    folder.mkdir()
    for name in ("run.json", "trajectory.mp4", "video.mp4"):
        (folder / name).write_text("old")


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


OLD = dict.fromkeys(("run.json", "trajectory.mp4", "video.mp4"), "old")


def test_old_results_are_replaced_whole_and_when_asked_alone(tmp_path):
    old_run(tmp_path / "out")
    refused = "holds the results of a run already; name another folder, or replace it with --overwrite"
    with pytest.raises(InputError, match=refused), results_folder(tmp_path / "out", VIDEO_RUN):
        raise AssertionError("nothing is begun")
    with results_folder(tmp_path / "out", VIDEO_RUN, overwrite=True) as folder:
        for name in ("run.json", "video.mp4"):
            (folder / name).write_text("new")
        assert {name: (tmp_path / "out" / name).read_text() for name in OLD} == OLD
    assert contents(tmp_path / "out") == {"run.json": "new", "video.mp4": "new"}


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), RuntimeError])
def test_what_fails_leaves_old_results_as_they_were(tmp_path, stop):
    old_run(tmp_path / "out")
    with (
        pytest.raises((KeyboardInterrupt, TryAgain, RuntimeError)),
        results_folder(tmp_path / "out", VIDEO_RUN, overwrite=True) as folder,
    ):
        (folder / "run.json").write_text("new")
        raise stop
    assert contents(tmp_path / "out") == OLD


@pytest.mark.parametrize("after", range(5))
def test_an_interrupt_between_two_moves_leaves_old_results_as_they_were(tmp_path, monkeypatch, after):
    old_run(tmp_path / "out")
    moves = []

    def rename(source, goal, move=os.rename):
        if len(moves) == after:
            moves.append(None)
            raise KeyboardInterrupt
        moves.append(goal)
        move(source, goal)

    with (
        pytest.raises(KeyboardInterrupt),
        results_folder(tmp_path / "out", VIDEO_RUN, overwrite=True) as folder,
    ):
        for name in ("run.json", "video.mp4"):
            (folder / name).write_text("new")
        monkeypatch.setattr(results.os, "rename", rename)
    assert len(moves) > after and contents(tmp_path / "out") == OLD


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "names, kind, told",
    [
        (["notes.txt"], VIDEO_RUN, "holds notes.txt, which is no part of the results of a run; name another folder"),
        (["video.mp4"], VIDEO_RUN, "holds video.mp4, which is no part"),  # without a record it may be anybody's
        (["run.json", "video.mp4", "mine.txt"], VIDEO_RUN, "holds mine.txt, which is no part"),
        (["run.json", "log.jsonl", "checkpoints", "a", "b"], VIDEO_RUN, "holds a, b, checkpoints, ..., which"),
        (["run.json", "video.mp4"], MODEL, "holds run.json, video.mp4, which is no part of a model"),
        (["model_index.json", "vae", "src"], MODEL, "holds src, which is no part of a model"),
        (["data"], DATASET, "holds data, which is no part of a data set"),
    ],
)
def test_what_is_not_ours_is_never_replaced(tmp_path, names, kind, told, overwrite):
    for name in names:
        (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=re.escape(told)):
        check_folder(tmp_path, kind, overwrite)


def test_a_file_is_replaced_when_asked_alone(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file exists; give another name, or replace it with --overwrite"):
        check_file(tmp_path / "file")
    check_file(tmp_path / "file", overwrite=True)
    check_file(tmp_path / "other")
    with pytest.raises(InputError, match="is a folder; name a file"):
        check_file(tmp_path, overwrite=True)


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"out=.*file is a file; name a folder"):
        check_folder(tmp_path / "file", VIDEO_RUN, overwrite=True)
    below = tmp_path / "file/below"
    with pytest.raises(InputError, match=r"out=.*file.* cannot be written"), results_folder(below, VIDEO_RUN):
        pass


def test_a_folder_that_is_there_may_be_on_another_disk(tmp_path):
    (tmp_path / "out").mkdir()
    with results_folder(tmp_path / "out", VIDEO_RUN) as folder:
        assert folder.parent == tmp_path / "out"
        (folder / "video.txt").write_text("new")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["video.txt"]


def test_a_full_disk_is_one_line_and_frees_what_was_written(tmp_path):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with (
        pytest.raises(TryAgain, match=r"^out=.*out cannot be written: No space left on device; make room, then start"),
        results_folder(tmp_path / "out", VIDEO_RUN) as folder,
    ):
        (folder / "half.txt").write_text("half")
        raise full
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError), results_folder(tmp_path / "out", VIDEO_RUN):
        Path("absent").read_text()  # which has nothing to do with the results


def test_results_have_the_rights_of_the_users_umask(tmp_path):
    before = os.umask(0o002)
    try:
        with results_folder(tmp_path / "out", VIDEO_RUN) as folder:
            (folder / "below").mkdir()
            write_video(folder / "below" / "video.mp4", np.zeros((5, 16, 16, 3), np.uint8), 15)
    finally:
        os.umask(before)
    places = ("out", "out/below", "out/below/video.mp4")
    assert [(tmp_path / place).stat().st_mode & 0o777 for place in places] == [0o775, 0o775, 0o664]
