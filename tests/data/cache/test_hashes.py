import hashlib
import os

import pytest

from vgen.data.cache import hashes
from vgen.data.cache.hashes import file_hashes, folder_sha256


@pytest.fixture
def hashed(monkeypatch):
    """The names of the files that were read for a hash."""
    read, content = [], hashes._content
    monkeypatch.setattr(hashes, "_content", lambda file: read.append(file.name) or content(file))
    return read


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_file_is_read_once_until_it_changes(tmp_path, hashed):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_text("one")
    b.write_text("two")
    assert file_hashes([a, b, a, tmp_path / "c"], tmp_path / "cache") == [
        sha256("one"),
        sha256("two"),
        sha256("one"),
        "",
    ]
    assert file_hashes([b], tmp_path / "cache") == [sha256("two")] and sorted(hashed) == ["a", "b"]
    a.write_text("six")  # as long as it was
    os.utime(a, ns=(1, 1))
    assert file_hashes([a, b], tmp_path / "cache") == [sha256("six"), sha256("two")] and hashed[2:] == ["a"]


@pytest.mark.parametrize("at", range(0, 120, 13))
def test_a_memo_that_is_damaged_gives_no_wrong_hash(tmp_path, at):
    (tmp_path / "a").write_text("one")
    file_hashes([tmp_path / "a"], tmp_path)
    memo = tmp_path / "hashes.jsonl"
    data = bytearray(memo.read_bytes())
    data[at] ^= 1
    for damage in (data, data[:at], b"5 null" + data):
        memo.write_bytes(damage)
        assert file_hashes([tmp_path / "a"], tmp_path) == [sha256("one")]


def test_a_memo_that_cannot_be_kept_is_no_stop(tmp_path):
    (tmp_path / "a").write_text("one")
    (tmp_path / "file").touch()
    assert file_hashes([tmp_path / "a"], tmp_path / "file") == file_hashes([tmp_path / "a"]) == [sha256("one")]


def test_a_folder_is_known_by_names_and_contents(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "a").write_text("one")
    first = folder_sha256(folder, tmp_path)
    assert folder_sha256(folder.rename(tmp_path / "moved"), tmp_path) == first
    (tmp_path / "moved" / "a").rename(tmp_path / "moved" / "b")
    assert folder_sha256(tmp_path / "moved", tmp_path) != first
