import logging
import os

import pytest

from vgen.data.videos.folders import find_files, is_mac_copy

CLIPS = frozenset({".mp4", ".mov"})


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_hidden_files_and_what_a_mac_leaves_are_left_out(tmp_path):
    hidden = "._a.mp4", ".x.mp4", "__MACOSX/a.mp4", "__MACOSX/b/._a.mp4", ".ipynb_checkpoints/a.mp4", "b/.git/c.mp4"
    make(tmp_path, *hidden, "a.mp4", "b/B.MOV", "b/a.txt", "_a.mp4", "b.mp4/inside.mp4", "c..mp4", "x.mp4.part")
    assert list(find_files(tmp_path, CLIPS)) == ["_a.mp4", "a.mp4", "b.mp4/inside.mp4", "b/B.MOV", "c..mp4"]
    assert find_files(tmp_path, CLIPS)["b/B.MOV"] == tmp_path / "b" / "B.MOV"


def test_a_folder_that_is_itself_hidden_is_searched(tmp_path):
    assert list(find_files(make(tmp_path / ".data" / "__MACOSX", "a.mp4"), CLIPS)) == ["a.mp4"]


def test_linked_folders_are_searched_once(tmp_path):
    root = make(tmp_path / "root", "real/a.mp4", "real/in/b.mp4")
    outside = make(tmp_path / "outside", "c.mp4", "more/d.mp4")
    (root / "aa").symlink_to(root / "real")  # comes first by name
    (root / "again").symlink_to(outside)
    (root / "other").symlink_to(outside)
    (root / "part").symlink_to(outside / "more")
    (root / "loop").symlink_to(root)
    (root / "real" / "up").symlink_to("..")
    (outside / "back").symlink_to(root / "real" / "in")
    (root / "me").symlink_to("me")
    assert list(find_files(root, CLIPS)) == ["again/c.mp4", "again/more/d.mp4", "real/a.mp4", "real/in/b.mp4"]
    (tmp_path / "way").symlink_to(root)
    assert len(find_files(tmp_path / "way", CLIPS)) == 4


def test_linked_files_are_files_and_a_broken_link_is_one_that_is_not_there(tmp_path):
    root = make(tmp_path / "root", "a.mp4")
    make(tmp_path, "blob")
    (root / "b.mp4").symlink_to(tmp_path / "blob")
    (root / "lost.mp4").symlink_to(tmp_path / "nothing")
    os.mkfifo(root / "pipe.mp4")
    assert list(find_files(root, CLIPS)) == ["a.mp4", "b.mp4", "lost.mp4"]


def test_a_folder_that_cannot_be_read_is_told(tmp_path, monkeypatch, caplog):
    make(tmp_path, "a/x.mp4", "b/y.mp4")
    caplog.set_level(logging.WARNING)
    real = os.listdir

    def deny(path):
        if os.path.basename(path) == "a":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "listdir", deny)
    assert list(find_files(tmp_path, CLIPS)) == ["b/y.mp4"]
    assert f"{tmp_path / 'a'} cannot be searched: Permission denied" in caplog.text


@pytest.mark.parametrize(
    ("name", "copy"),
    [("._a.mp4", True), ("b/._a.mp4", True), ("__MACOSX/a.mp4", True), (".a.mp4", False), ("_a.mp4", False)],
)
def test_mac_copies(name, copy):
    assert is_mac_copy(name) == copy
