import errno
import fcntl
import os
import pickle
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from vgen.data.cache import shard as shard_module
from vgen.data.cache import store as store_module
from vgen.data.cache.shard import Damaged
from vgen.data.cache.store import Item, Store
from vgen.errors import InputError, RunStopped, TryAgain

BLOCK = 16


def array(key, blocks=1):
    return np.random.default_rng(int(key)).integers(0, 255, (blocks, BLOCK), dtype=np.uint8)


@dataclass
class Making:
    """Makes the arrays of items, and notes which; key 5 is bad; before key `fatal` the process ends, as if killed."""

    items: list
    fatal: str = ""
    made: list = field(default_factory=list)

    def open(self, device):
        def encode(places):
            if self.fatal in [self.items[place].key for place in places]:
                os._exit(9)
            self.made += [self.items[place].key for place in places]
            return {p: "five" if (i := self.items[p]).key == "5" else array(i.key, i.blocks) for p in places}

        return encode


def fill(folder, keys, at_once=2, blocks=1, **making):
    """The store, and what was made for it."""
    store, work = Store(folder, BLOCK), Making([Item(key, blocks) for key in keys], **making)
    store.fill(work.items, work, at_once, 1, "making")
    return store, work.made


def keys(count):
    return [str(number) for number in range(count)]


def check(store, wanted, blocks=1):
    assert all(np.array_equal(store.read(key), array(key, blocks)) for key in wanted if key != "5")
    assert {key for key in wanted if key in store.bad} <= {"5"}


def killed(function, *arguments, **named):
    """Runs a function in a process that ends at it, as if killed."""
    child = os.fork()
    if not child:
        function(*arguments, **named)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.fixture
def in_one_shard(monkeypatch):
    monkeypatch.setattr(store_module, "SHARDS", 1)


def only(folder, name):
    (file,) = folder.glob(f"*/{name}")
    return file


def test_what_is_there_is_not_made_again_and_the_rest_is(tmp_path):
    store, made = fill(tmp_path, keys(8))
    assert made == keys(8)
    check(store, keys(8))
    assert store.bad == {"5": "five"}
    store, made = fill(tmp_path, ["0", "9", "3", "5", "8", "9"])
    assert made == ["9", "8"]
    check(store, keys(10))
    assert fill(tmp_path, keys(8))[1] == []  # what is not asked for any more may come back


def test_some_blocks_of_an_array(tmp_path):
    store, _ = fill(tmp_path, keys(3), blocks=4)
    assert np.array_equal(store.read("2", [3, 0]), array("2", 4)[[3, 0]])
    assert store.content("2") == pickle.loads(pickle.dumps(store)).content("2") != store.content("1")


def test_after_a_kill_only_what_is_left_is_made(tmp_path, in_one_shard):
    killed(fill, tmp_path, keys(12), fatal="8")
    assert [path.suffix for path in tmp_path.iterdir()] == [".part"]
    store, made = fill(tmp_path, ["12", *keys(12)])  # though something has come before it meanwhile
    assert made == ["12", "8", "9", "10", "11"]
    check(store, keys(13))
    assert {path.name for path in tmp_path.glob("*/*")} == {"index.json", "rows.bin"}


@pytest.mark.parametrize("name", ["plan.json", "done.jsonl", "rows.bin"])
@pytest.mark.parametrize("harm", ["cut", "flip", "gone"])
def test_what_a_kill_leaves_may_be_damaged(tmp_path, in_one_shard, name, harm):
    killed(fill, tmp_path, keys(12), fatal="8")
    damage(only(tmp_path, name), harm)
    check(fill(tmp_path, keys(12))[0], keys(12))


def damage(file, harm):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.unlink()
    if harm != "gone":
        file.write_bytes(data if harm == "flip" else data[: len(data) // 2])


@pytest.mark.parametrize("name", ["index.json", "rows.bin"])
@pytest.mark.parametrize("harm", ["cut", "flip", "gone"])
def test_what_is_damaged_is_found_and_made_anew(tmp_path, in_one_shard, caplog, name, harm):
    fill(tmp_path, keys(12))
    damage(only(tmp_path, name), harm)
    store, made = fill(tmp_path, keys(12))
    check(store, keys(12))
    expected = {"flip": 1, "cut": 6, "gone": 11}[harm] if name == "rows.bin" else 12
    assert len(made) == expected and name in caplog.text and "made anew" in caplog.text
    caplog.clear()
    assert fill(tmp_path, keys(12))[1] == [] and not caplog.text


def test_what_is_damaged_later_is_noted_where_it_is_read(tmp_path, in_one_shard, monkeypatch):
    store, _ = fill(tmp_path, keys(12))
    monkeypatch.setattr(store_module, "SAMPLE", 0)
    damage(only(tmp_path, "rows.bin"), "flip")
    with pytest.raises(Damaged, match=r"rows\.bin is not what was written: the checksum of block 6 differs"):
        for key in keys(12):
            if key != "5":
                store.read(key)
    store, made = fill(tmp_path, keys(12))
    assert made == ["6"]
    check(store, keys(12))


def test_a_broken_row_is_made_anew_where_it_cannot_be_noted(tmp_path, in_one_shard, monkeypatch):
    fill(tmp_path, keys(12))
    damage(only(tmp_path, "rows.bin"), "flip")
    monkeypatch.setattr(shard_module.Shard, "note", lambda self, keys: None)
    store, made = fill(tmp_path, keys(12))
    assert len(made) == 1
    check(store, keys(12))


def test_a_disk_that_fails_for_a_moment_is_asked_again(tmp_path, monkeypatch):
    store, _ = fill(tmp_path, keys(2))
    calls, preadv = [], os.preadv

    def failing(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise OSError(errno.EIO, "Input/output error")
        return preadv(*arguments)

    monkeypatch.setattr(os, "preadv", failing)
    check(store, ["1"])
    monkeypatch.setattr(os, "preadv", lambda *arguments: failing(*arguments, calls.clear()))
    with pytest.raises(Damaged, match="cannot be read: Input/output error"):
        store.read("0")


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fails_at_the_third(function):
    calls = []
    return lambda *arguments: full() if calls.append(0) or len(calls) > 2 else function(*arguments)


@pytest.mark.parametrize(
    ("where", "name", "left"),
    [(os, "posix_fallocate", 0), (os, "pwrite", 2), (shard_module, "append", 4), (shard_module, "_seal", 0)],
)
def test_a_full_disk_is_one_line_and_gives_back_what_was_taken(tmp_path, in_one_shard, monkeypatch, where, name, left):
    """What was done before is kept, unless its index cannot be written either."""
    monkeypatch.setattr(where, name, fails_at_the_third(getattr(where, name)) if left else full)
    with pytest.raises(TryAgain, match=r"cannot be written: No space left on device.*start the same command again$"):
        fill(tmp_path, keys(12))
    assert sum(file.stat().st_size for file in tmp_path.rglob("rows.bin")) == left * BLOCK
    assert not list(tmp_path.glob("*.part"))
    monkeypatch.undo()
    check(fill(tmp_path, keys(12))[0], keys(12))


def test_a_disk_without_the_room_is_told_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(100, 50, 50))
    with pytest.raises(TryAgain, match=r"needs 0\.0 MB and its disk has 0\.0 MB left; make room"):
        fill(tmp_path, keys(12))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        InputError, match=r"file cannot be written: (Not a directory|a file stands where a folder must be)"
    ):
        fill(tmp_path / "file", keys(2))


def test_a_disk_that_keeps_something_else_is_told(tmp_path, monkeypatch):
    write = shard_module._write
    monkeypatch.setattr(shard_module, "_write", lambda file, data, offset: write(file, data // 2, offset))
    with pytest.raises(RunStopped, match="2 of 2 rows were other than written when they were read again"):
        fill(tmp_path, keys(2))


def test_processes_that_fill_one_store_share_the_work_and_wait_for_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "POLL", 0.01)
    begun, go_on = threading.Event(), threading.Event()

    @dataclass
    class Slow(Making):
        def open(self, device):
            encode = super().open(device)

            def slow(places):
                begun.set()
                go_on.wait(10)
                return encode(places)

            return slow

    items = [Item(key) for key in keys(8)]
    first, second = Slow(items), Making(items)
    thread = threading.Thread(target=Store(tmp_path, BLOCK).fill, args=(items, first, 2, 1, "slow"))
    thread.start()
    begun.wait(10)
    other = threading.Thread(target=Store(tmp_path, BLOCK).fill, args=(items, second, 2, 1, "quick"))
    other.start()
    other.join(0.3)
    assert other.is_alive() and second.made == keys(8)[2:]  # all but what the first one holds
    go_on.set()
    thread.join(10)
    other.join(10)
    assert not other.is_alive() and sorted(first.made + second.made) == keys(8)
    check(Store(tmp_path, BLOCK), keys(8))


def test_a_file_system_without_locks_is_no_stop(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refused)
    check(fill(tmp_path, keys(4))[0], keys(4))


def test_a_store_that_must_not_be_written_to_is_read(tmp_path):
    fill(tmp_path, keys(4))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path, *tmp_path.rglob("*"))}
    store, made = fill(tmp_path, keys(4))
    assert made == [] and {path: path.stat().st_mtime_ns for path in (tmp_path, *tmp_path.rglob("*"))} == before
    check(store, keys(4))


def test_a_large_store_is_made_in_shards_of_whole_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "SHARD_BYTES", 5 * BLOCK)
    monkeypatch.setattr(store_module, "SHARDS", 2)
    fill(tmp_path, [str(number) for number in range(10, 28)])
    sizes = sorted(file.stat().st_size // BLOCK for file in tmp_path.glob("*/rows.bin"))
    assert sizes == [2, 4, 4, 4, 4]


def test_a_disk_without_room_for_another_file_is_one_line(tmp_path, in_one_shard, monkeypatch):
    opened = Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, *how: full() if path.name == shard_module.LOCK else opened(path, *how)
    )
    with pytest.raises(TryAgain, match="cannot be written: No space left on device"):
        fill(tmp_path, keys(12))
    assert not list(tmp_path.iterdir())
