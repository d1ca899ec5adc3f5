"""vgen/files.py: whole or not there, with the user's rights, and a disk's refusal in one line."""

from __future__ import annotations

import errno
import os
import resource
import signal
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vgen import files
from vgen.errors import InputError, TryAgain


@pytest.fixture
def small_files():
    """No file of this process may grow beyond 64 KiB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EFBIG])
def test_what_passes_is_to_be_tried_again(number: int) -> None:
    with pytest.raises(TryAgain) as caught, files.writing("runs/a"):
        raise OSError(number, os.strerror(number), "runs/a/log.jsonl")
    assert str(caught.value) == (
        f"runs/a cannot be written: {os.strerror(number)} (runs/a/log.jsonl); what is done is kept: make room, then "
        "start the same command again"
    )


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EISDIR])
def test_what_is_not_allowed_is_wrong_input(number: int) -> None:
    with pytest.raises(InputError) as caught, files.writing("runs/a"):
        raise OSError(number, os.strerror(number), "runs/a")
    why = os.strerror(number)
    assert str(caught.value) == f"runs/a cannot be written: {why}; name another folder, or allow writing to this one"


def test_a_whole_file_replaces_another_and_has_the_users_rights(tmp_path: Path, umask) -> None:
    (tmp_path / "a").write_text("old")
    files.write_whole(tmp_path / "a", "new")
    (tmp_path / "b").mkdir()
    with files.replaced_folder(tmp_path / "b" / "c") as part:
        part.mkdir()
        save_file({"w": torch.zeros(1)}, part / "d")  # which makes it for its user alone
        assert (part / "d").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "a").read_text() == "new"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "c", "d"]
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("a", "b/c", "b/c/d")]
    assert modes == [0o640, 0o750, 0o640]


def test_what_fails_leaves_the_old_one_and_nothing_else(tmp_path: Path, small_files) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(OSError, match="File too large"):
        files.write_whole(tmp_path / "a", b"x" * (1 << 17))
    with pytest.raises(OSError, match="File too large"), files.replaced_folder(tmp_path / "b") as part:
        part.mkdir()
        (part / "c").write_bytes(b"x" * (1 << 17))
    with pytest.raises(OSError, match="File too large"):
        files.preallocate(tmp_path / "d", 1 << 17)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_a_line_is_added_whole_or_not_at_all(tmp_path: Path, small_files) -> None:
    files.append(tmp_path / "log", "x" * ((1 << 16) - 2) + "\n")
    with pytest.raises(OSError, match="File too large"):
        files.append(tmp_path / "log", "four\n")
    assert (tmp_path / "log").stat().st_size == (1 << 16) - 1


def test_a_refusal_is_found_behind_a_librarys_exception(tmp_path: Path, small_files) -> None:
    weights = torch.zeros(1 << 15)
    for save in (lambda: torch.save(weights, tmp_path / "a"), lambda: save_file({"w": weights}, tmp_path / "b")):
        with pytest.raises(Exception) as caught:  # of types that are the libraries' own
            save()
        assert files.disk_error(caught.value, tmp_path).errno == errno.EFBIG
    assert not list(tmp_path.glob(f"*{files.PART}"))


def test_what_no_disk_refused_is_told_apart(tmp_path: Path) -> None:
    assert files.disk_error(RuntimeError("a shape does not fit"), tmp_path / "not" / "there") is None
    assert not list(tmp_path.iterdir())
    wrapped = RuntimeError("writer failed")
    wrapped.__cause__ = OSError(errno.ENOSPC, "full")
    assert files.disk_error(wrapped, tmp_path).errno == errno.ENOSPC


def test_versions_of_packages_that_are_there_and_that_are_not() -> None:
    assert files.package_versions(["torch", "no-such-package"]) == {"torch": version("torch"), "no-such-package": None}
    assert files.package_versions(["no-such-package"], "not installed") == {"no-such-package": "not installed"}


def test_a_file_that_stands_where_a_folder_must_be(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(InputError, match="a file stands where a folder must be"), files.writing(tmp_path / "a"):
        (tmp_path / "a").mkdir(exist_ok=True)
    with pytest.raises(InputError, match="Not a directory"), files.writing(tmp_path / "a"):
        (tmp_path / "a" / "b").mkdir(parents=True)
    assert files.probe(tmp_path / "a" / "b").errno == errno.ENOTDIR


def test_a_tree_that_cannot_be_copied_is_the_disks_refusal(tmp_path: Path, monkeypatch) -> None:
    for name in ("a", "b"):
        (tmp_path / "from" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "from" / name).write_bytes(b"x")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(TryAgain) as caught, files.writing("it", folder=tmp_path):
        files.shutil.copytree(tmp_path / "from", tmp_path / "to", copy_function=full)
    assert str(caught.value).startswith(f"it cannot be written: No space left on device ({tmp_path}); ")
