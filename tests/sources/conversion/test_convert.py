import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.data.lerobot.staging import alone
from vgen.errors import InputError, TryAgain
from vgen.media.writing import write_video
from vgen.sources import SOURCES, kind, open_source, summary
from vgen.sources.conversion import takes as takes_module
from vgen.sources.conversion.convert import Conversion, convert
from vgen.sources.conversion.join import join
from vgen.sources.conversion.report import read_report
from vgen.sources.conversion.splits import parse_shard, parse_splits, split_of
from vgen.sources.reading.frames import ArrayFrames
from vgen.sources.source import Episode, LeftOut, Reading, Source, Take

BOXES, STATE, INTRINSICS = "observation.boxes", "observation.state", "observation.intrinsics"


class MadeSource(Source):
    """Takes of 6 frames in 5 scenes; the folder holds a file for each, which says what is wrong with it."""

    options: ClassVar = {"mend": "rows that are told as mended"}

    def __init__(self, reading):
        self._folder = reading.folder
        self._mend = int(reading.more.get("mend", 0))
        self.columns = {STATE: ["x", "y", "z", "gripper"], BOXES: [str(k) for k in range(10)], INTRINSICS: list("abcd")}
        self.layouts = {STATE: "position4", BOXES: "hand_boxes"}
        self.conventions = {STATE: "of the left arm"}
        self.cameras, self.fps, self.robot_type = reading.cameras or ["front"], 12, "arm"

    def takes(self):
        names = sorted(path.name for path in self._folder.iterdir())
        return [Take(name, f"scene{int(name[-2:]) % 5}", self._folder / name) for name in names]

    def read(self, take):
        fault = take.place.read_text()
        if fault == "left out":
            raise LeftOut(f"it is bad: {take.name}")
        number, rows = int(take.name[-2:]), np.arange(6, dtype=np.float32)
        if fault == "odd":
            raise KeyError("pose")
        state = np.stack([rows + number, rows / 10, -rows, rows % 2], axis=1)
        if fault == "nan":
            state[2, 1], state[3, 0] = np.nan, np.inf
        boxes = np.tile(np.array([0, 0.25, 0.1, 0.75, 0.5, 0.5, 0.75, 1, 1, 1], np.float32), (6, 1))
        camera = np.tile(np.array([40, 40, 31.5, 23.5], np.float32), (6, 1))
        size = (60, 64) if fault == "size" else (48, 64)
        shade = np.broadcast_to((20 * rows + number)[:, None, None, None].astype(np.uint8), (6, *size, 3))
        frames = ArrayFrames(shade[: 5 if fault == "short" else 6])
        made = dict.fromkeys(self.cameras, frames)
        return Episode({STATE: state, BOXES: boxes, INTRINSICS: camera}, made, f"take {number}", {"number": number},
                       {"rows moved": self._mend})  # fmt: skip


@pytest.fixture(autouse=True)
def made_source(monkeypatch):
    monkeypatch.setitem(SOURCES, "made", "test_convert:MadeSource")
    monkeypatch.setitem(sys.modules, "test_convert", sys.modules[__name__])


@pytest.fixture
def folder(tmp_path):
    return make(tmp_path / "raw")


def make(folder: Path, count: int = 7, **faults: str) -> Path:
    folder.mkdir()
    for number in range(count):
        (folder / f"take{number:02}").write_text(faults.get(f"take{number:02}", ""))
    return folder


def conversion(folder: Path, out: Path, **settings) -> Conversion:
    return Conversion("made", Reading(folder), out, **settings)


def contents(out: Path) -> list[tuple]:
    """What a data set holds, split by split: takes, rows, and the brightness of frames."""
    held = []
    for split in ("train", "test"):
        dataset = LeRobotDataset(out, split)
        for i in range(len(dataset)):
            episode = dataset.episode(i)
            shades = [dataset.frames(i, camera).mean((1, 2, 3)).round(2).tolist() for camera in dataset.cameras]
            held.append((split, episode.index, episode.task, sorted(episode.extra.items()), shades,
                         episode.columns[STATE].tolist()))  # fmt: skip
    return held


def test_takes_become_episodes_in_order_with_splits_by_scene_and_what_is_known_of_columns(folder, tmp_path):
    report = convert(replace(conversion(folder, tmp_path / "out"), reading=Reading(folder, ("front", "wrist"))))
    train, test = LeRobotDataset(tmp_path / "out"), LeRobotDataset(tmp_path / "out", "test")
    assert [test.episode(i).extra["take"] for i in range(len(test))] == ["take02"]
    assert [train.episode(i).extra["number"] for i in range(len(train))] == [0, 1, 3, 4, 5, 6]
    assert train.episode(5).task == "take 6" and train.episode(5).extra["group"] == "scene1"
    assert np.allclose(train.episode(5).columns[STATE][:, 0], np.arange(6) + 6)
    assert np.allclose(train.frames(5, "wrist").mean((1, 2, 3)), 20 * np.arange(6) + 6, atol=2)
    about = train.info["features"][STATE]["info"]
    assert about["layout"] == "position4" and about["conventions"].endswith("of the left arm")
    assert "position of the hand: m, world" in about["conventions"]
    assert (report.episodes, report.groups, report.frames) == ({"train": 6, "test": 1}, {"train": 4, "test": 1}, 42)
    assert not (tmp_path / "out.converting").exists() and read_report(tmp_path / "out") == report


def test_processes_and_shards_make_what_one_process_makes(folder, tmp_path):
    convert(conversion(folder, tmp_path / "one"))
    whole = contents(tmp_path / "one")
    shards = [tmp_path / f"shard{number}" for number in (1, 2)]
    for number, out in enumerate(shards, 1):
        convert(conversion(folder, out, shard=(number, 2)))
    report = join(shards[::-1], tmp_path / "joined")
    assert contents(tmp_path / "joined") == whole
    assert report == replace(read_report(tmp_path / "one"), settings=report.settings)
    infos = [json.loads((tmp_path / name / "meta/info.json").read_text()) for name in ("one", "joined")]
    assert infos[0] == infos[1]


def test_shards_that_do_not_belong_together_are_not_joined(tmp_path):
    folder = make(tmp_path / "few", 4)
    for name, number, settings in (("a", 1, {}), ("b", 2, {}), ("c", 2, {"size": (32, 32)})):
        convert(conversion(folder, tmp_path / name, shard=(number, 2), **settings))
    a, b, c = (tmp_path / name for name in "abc")
    for shards, said in (
        ([a], r"shard 2 of 2 is missing; name all 2 folders"),
        ([a, b, b], r"are both shard 2 of 2"),
        ([a, c], r"differ in size: None and \[32, 32\]"),
        ([tmp_path], r"has no meta/conversion\.json"),
    ):
        with pytest.raises(InputError, match=said):
            join(shards, tmp_path / "joined")
    assert not (tmp_path / "joined").exists() and not (tmp_path / "joined.joining").exists()


def test_what_is_wrong_with_takes_is_counted_and_named(tmp_path, caplog):
    faults = {"take01": "left out", "take02": "odd", "take03": "nan", "take04": "size", "take06": "short"}
    folder = make(tmp_path / "raw", 9, **faults, take07="left out")
    report = convert(replace(conversion(folder, tmp_path / "out"), reading=Reading(folder, more={"mend": "2"})))
    assert sum(report.episodes.values()) == 4 and report.mended == {"rows moved": 8}
    assert report.invalid == {STATE: 2}
    told = "\n".join(report.lines())
    assert "left out: 2 as it is bad (take01: take01; take07)" in told
    assert "1 as it cannot be read (take02: KeyError, 'pose')" in told
    assert "1 as it has not as many rows as frames (take06: observation.state 6" in told
    assert "1 as its frames are of another size than most, and --size was not given (take04: 60x64" in told
    assert "5 of 9 takes were left out" in caplog.text and "no take of test is left" in caplog.text
    rows = LeRobotDataset(tmp_path / "out").episode(1).columns[STATE]  # of take03
    assert np.isnan(rows).sum() == 2 and np.isnan(rows[2, 1]) and np.isnan(rows[3, 0])


def test_of_takes_that_are_all_bad_nothing_is_left(tmp_path):
    folder = make(tmp_path / "raw", 2, take00="left out", take01="left out")
    with pytest.raises(InputError, match=r"no take of .* can be used, of 2: 2 as it is bad \(take00: take00"):
        convert(conversion(folder, tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_frames_are_cut_to_a_size_and_what_is_told_in_the_image_goes_with_them(folder, tmp_path):
    report = convert(conversion(folder, tmp_path / "out", size=(24, 16)))  # of 48x64: half, then 8 of 32 on both sides
    dataset = LeRobotDataset(tmp_path / "out")
    assert dataset.frames(0, "front").shape[1:3] == (24, 16)
    columns = dataset.episode(0).columns
    assert np.allclose(columns[INTRINSICS][0], [20, 20, (31.5 + 0.5 - 16) / 2 - 0.5, 11.5])
    left, right, seen = columns[BOXES][0, :4], columns[BOXES][0, 4:8], columns[BOXES][0, 8:]
    assert seen.tolist() == [0, 1] and np.allclose(right, [0.5, 0.5, 1, 1])
    assert np.allclose(left, [0, 0.25, 0, 0.75])
    assert report.mended == {"hands in what was cut off the frames, now not seen": 42}


def test_a_lower_rate_takes_every_nth_row_and_says_so(folder, tmp_path):
    convert(replace(conversion(folder, tmp_path / "out"), reading=Reading(folder, fps=4)))
    dataset = LeRobotDataset(tmp_path / "out")
    assert dataset.fps == 4 and dataset.episode(0).length == 2
    assert np.allclose(dataset.frames(0, "front").mean((1, 2, 3)), [0, 60], atol=2)
    with pytest.raises(InputError, match=r"fps=5 is no whole part of the source's 12; nearest: 4"):
        convert(replace(conversion(folder, tmp_path / "out2"), reading=Reading(folder, fps=5)))


def test_a_conversion_that_broke_off_goes_on_and_does_nothing_twice(folder, tmp_path, monkeypatch):
    write, done = takes_module._write, []

    def full(plan, source, take, part):
        if len(done) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done.append(take.name)
        return write(plan, source, take, part)

    monkeypatch.setattr(takes_module, "_write", full)
    with pytest.raises(TryAgain, match="No space left"):
        convert(conversion(folder, tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match=r"interrupted conversion with other settings \(size: None, now \[16, 16\]\)"):
        convert(conversion(folder, tmp_path / "out", size=(16, 16)))
    with alone(tmp_path / "out.converting"), pytest.raises(InputError, match="in use by another process"):
        convert(conversion(folder, tmp_path / "out"))
    monkeypatch.setattr(takes_module, "_write", lambda *given: done.append(given[2].name) or write(*given))
    convert(conversion(folder, tmp_path / "out"))
    assert done == [f"take{number:02}" for number in range(7)]


def test_a_full_disk_is_one_line_and_keeps_what_was_whole(tmp_path, monkeypatch):
    folder = make(tmp_path / "raw", 3)
    most, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most[1]))
    try:
        with pytest.raises(TryAgain, match="start the same command again"):
            convert(conversion(folder, tmp_path / "out"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
        signal.signal(signal.SIGXFSZ, handler)
    assert not (tmp_path / "out").exists()
    assert sum(convert(conversion(folder, tmp_path / "out")).episodes.values()) == 3


def test_a_conversion_that_is_killed_goes_on(tmp_path):
    clips = tmp_path / "clips"
    clips.mkdir()
    frames = np.random.default_rng(0).integers(0, 255, (60, 128, 128, 3), np.uint8)
    for number in range(3):
        write_video(clips / f"{number}.mp4", frames, 30)
        rows = [f"{k / 30},{k / 60},0,0,1" for k in range(60)]
        (clips / f"{number}.csv").write_text("\n".join(["t,x,y,z,gripper", *rows]))
    options = ["data", "convert", "folder", "--from", str(clips), "--out", str(tmp_path / "o")]
    command = [sys.executable, "-c", "from vgen.commands import run; run()", *options]
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not list(tmp_path.glob("o.converting/*/told.json")) and time.monotonic() < until:
        time.sleep(0.01)
    running.kill()
    running.wait()
    assert list(tmp_path.glob("o.converting/*/told.json")) and not (tmp_path / "o").exists()
    report = convert(Conversion("folder", Reading(clips), tmp_path / "o"))
    assert sum(report.episodes.values()) == 3


def test_splits_are_by_group_even_and_leave_one_to_train(caplog):
    takes = [Take(f"{group}-{k}", f"g{group:02}", None) for group in range(20) for k in range(3)]
    split = split_of(takes, {"test": 0.1, "val": 0.05})
    groups = {name: {take.group for take in takes if split[take.name] == name} for name in ("train", "test", "val")}
    assert groups["test"] == {"g05", "g15"} and groups["val"] == {"g10"} and len(groups["train"]) == 17
    assert split_of(list(reversed(takes)), {"test": 0.1, "val": 0.05}) == split
    assert set(split_of(takes[:6], {"test": 0.9}).values()) == {"train", "test"}
    assert set(split_of(takes, {"test": 0}).values()) == {"train"}
    assert set(split_of(takes[:3], {"test": 0.1}).values()) == {"train"} and "of one group (g00)" in caplog.text
    told = split_of([*takes, Take("own", "g00", None, "val")], {"test": 0.1})
    assert told["own"] == "val" and told["0-0"] == "train"


@pytest.mark.parametrize(
    ("text", "said"),
    [("train=0.5", "gets what the others leave"), ("test=1", "a share of 0 to 1"), ("test", "NAME=SHARE"),
     ("a=0.5,b=0.6", "leaves nothing for train"), ("a=0.1,a=0.2", "names a twice")],
)  # fmt: skip
def test_shares_that_are_none_are_refused(text, said):
    with pytest.raises(InputError, match=said):
        parse_splits(text.split(","))


def test_a_shard_is_one_of_n():
    assert parse_shard("2/4") == (2, 4)
    for text, said in (("0/4", "nearest: 1/4"), ("5/4", "nearest: 4/4"), ("1of4", "is not I/N"), ("1/0", "1/1")):
        with pytest.raises(InputError, match=said):
            parse_shard(text)


def test_what_cannot_be_converted_is_refused_before_anything_is_made(folder, tmp_path):
    out = tmp_path / "out"
    for change, said in (
        ({"source": "folde"}, "nearest: 'folder'"),
        ({"reading": Reading(tmp_path / "none")}, "is no folder"),
        ({"reading": Reading(folder, more={"mnd": "1"})}, "'mnd' is not in the options of made; nearest: 'mend'"),
        ({"size": (33, 32)}, "size=33 is not even"),
        ({"workers": 0}, "nearest: 1"),
        ({"shard": (1, 8)}, "the source has 7 takes"),
    ):
        with pytest.raises(InputError, match=said):
            convert(replace(conversion(folder, out), **change))
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_every_source_says_what_it_is_or_what_it_lacks(monkeypatch):
    assert all(summary(name) for name in SOURCES if name != "made")
    monkeypatch.setattr("vgen.sources.NEEDS", {"folder": ("no_such_package", "extra")})
    assert summary("folder").endswith('Needs pip install "vgen[extra]"')
    with pytest.raises(InputError, match=r"not installed: pip install .vgen\[extra\]"):
        kind("folder")
    with pytest.raises(InputError, match=r"not in the sources"):
        open_source("x", Reading(Path(".")))
