"""Data sets that are packed and unpacked, against what was recorded."""

import hashlib
import json
import os
import shutil
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from vgen.data.footage import LeRobotFootage
from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.data.lerobot.writer import LeRobotWriter
from vgen.data.opening import DataConfig, open_footage
from vgen.data.pack.choosing import kept_places, largest_share
from vgen.data.pack.packing import pack
from vgen.data.pack.unpacking import unpack
from vgen.errors import InputError, TryAgain

CAMERA, FPS, T = "observation.images.eye", 20, 18
STATE = ["x", "y", "z", "gripper"]


def record(folder, size, groups, test, columns=True):
    """Episodes of a square that goes its own way over a gradient; those of a group begin alike."""
    writer = LeRobotWriter(folder, FPS, {"observation.state": STATE} if columns else {}, [CAMERA], "arm")
    for episode in range(2 * groups + test):
        rng = np.random.default_rng(episode)
        path = np.cumsum(rng.normal(0, 0.02, (T, 3)), axis=0)
        state = np.concatenate([path, rng.integers(0, 2, (T, 1))], axis=1).astype(np.float32)
        video = np.broadcast_to(np.linspace(40, 200, size[1])[None, None, :, None], (T, *size, 3)).astype(np.uint8)
        video = video.copy()
        for frame in range(T):
            video[frame, 4 : 4 + size[0] // 3, frame : frame + size[1] // 3] = (220, 30 + 9 * episode, 40)
        extra = {"group": f"g{episode // 2}" if episode < 2 * groups else f"t{episode}", "branch_frame": 4}
        extra["goal"] = path[-1].tolist()
        writer.add_episode({"observation.state": state} if columns else {}, {CAMERA: video}, f"go {episode}", extra)
    writer.finish({"train": (0, 2 * groups), "test": (2 * groups, 2 * groups + test)})
    return folder


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    root = tmp_path_factory.mktemp("sources")
    return [record(root / "arm", (32, 48), 3, 2), record(root / "pictures", (16, 16), 1, 1, columns=False)]


@pytest.fixture(scope="module")
def packed(sources, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed") / "pack"
    return folder, pack(sources, folder)


@pytest.fixture(scope="module")
def data(packed, tmp_path_factory):
    out = tmp_path_factory.mktemp("data")
    return out, unpack(packed[0], out)


@pytest.fixture
def copy(packed, tmp_path):
    return shutil.copytree(packed[0], tmp_path / "pack")


def decibels(made, truth):
    return 10 * np.log10(255**2 / np.square(made.astype(float) - truth).mean())


def test_what_is_unpacked_is_what_was_recorded(sources, packed, data):
    assert data[1] == [data[0] / "arm", data[0] / "pictures"]
    for source, folder, told in zip(sources, data[1], packed[1].sets, strict=True):
        errors = []
        for split in ("train", "test"):
            before, after = LeRobotDataset(source, split), LeRobotDataset(folder, split)
            assert len(after) == len(before) and after.fps == before.fps and after.cameras == before.cameras
            for number in range(len(before)):
                old, new = before.episode(number), after.episode(number)
                assert (new.index, new.length, new.task, new.extra) == (old.index, old.length, old.task, old.extra)
                assert set(new.columns) == set(old.columns)
                for name in old.columns:
                    values, kept = old.columns[name], new.columns[name]
                    assert kept.dtype == values.dtype and kept.shape == values.shape
                    exact = name != "observation.state"
                    assert np.abs(kept - values).max() <= (0 if exact else 1e-3 * values.std())
                made, truth = after.frames(number, "eye"), before.frames(number, "eye")
                assert decibels(made, truth) > 25 and decibels(made, np.roll(truth, 1, axis=0)) < decibels(made, truth)
                errors.append(np.square(made[6].astype(float) - truth[6]).mean())  # of 18 frames, the sampled one
        assert told.loss.psnr == pytest.approx(10 * np.log10(255**2 / np.mean(errors)), abs=0.01)
        assert told.loss.worst == pytest.approx(10 * np.log10(255**2 / np.max(errors)), abs=0.01)
    assert json.loads((data[0] / "arm/meta/info.json").read_text())["robot_type"] == "arm"


def test_frames_are_those_that_the_videos_hold(data):
    """PyAV reads the videos of an unpacked set, which are those of the pack, as OpenCV did."""
    dataset = LeRobotDataset(data[0] / "arm", "test")
    decoded = dataset.frames(1, "eye", [3, 0])
    dataset._decoded = dict.fromkeys(dataset._decoded)
    assert np.array_equal(dataset.frames(1, "eye", [3, 0]), decoded)


def test_a_recipe_names_an_unpacked_set_as_any_other(data, tmp_path):
    dataset = LeRobotDataset(data[0] / "arm", "test")
    for once in (True, False):
        config = DataConfig(str(data[0] / "arm"), "eye", "test", once, cache=str(tmp_path))
        footage = open_footage(config)
        assert footage.name == "arm-eye" and footage.episodes[1].caption == "go 7"
        assert isinstance(footage, LeRobotFootage) is not once
        assert np.array_equal(footage.read(1, [5]), dataset.frames(1, "eye", [5]))
    assert not (tmp_path / "frames").exists()


def test_a_pack_is_made_again_only_where_it_may_be(sources, packed, tmp_path):
    packed = shutil.copytree(packed[0], tmp_path / "pack"), packed[1]
    with pytest.raises(InputError, match=r"holds a pack already.*--overwrite"):
        pack(sources, packed[0])
    again = pack(sources, packed[0], overwrite=True, crf=40)
    assert again.files.keys() == packed[1].files.keys() and again.bytes < packed[1].bytes


def test_fewer_frames_a_second(sources, tmp_path):
    pack(sources[:1], tmp_path / "pack", fps={"arm": 10}, splits=["test"])
    (folder,) = unpack(tmp_path / "pack", tmp_path / "data")
    before, after = LeRobotDataset(sources[0], "test"), LeRobotDataset(folder, "test")
    old, new = before.episode(0), after.episode(0)
    assert after.fps == 10 and new.length == T // 2 and new.extra["branch_frame"] == 2
    assert np.allclose(new.columns["observation.state"], old.columns["observation.state"][::2], atol=1e-3)
    assert np.array_equal(new.columns["timestamp"], old.columns["timestamp"][::2])
    assert decibels(after.frames(0, "eye"), before.frames(0, "eye")[::2]) > 28


def test_episodes_are_left_out_evenly_and_groups_whole():
    episodes = [SimpleNamespace(split="train", group=f"g{n // 4}") for n in range(80)]
    episodes += [SimpleNamespace(split="test", group=f"t{n}") for n in range(5)]
    for share, groups in ((1, 20), (0.5, 10), (0.26, 5), (0, 0)):
        kept = kept_places(episodes, share)
        of_groups = Counter(episodes[place].group for place in kept if place < 80)
        assert len(of_groups) == groups and set(of_groups.values()) <= {4} and kept[-5:] == list(range(80, 85))
        numbers = [int(name[1:]) for name in of_groups]
        assert not numbers or max(np.diff([-1, *numbers, 20])) <= -(-20 // groups) + 1
    assert kept_places(episodes[:8], 0.01) == [0, 1, 2, 3]  # a set of train alone is not empty
    assert largest_share(lambda share: 10 + 90 * share, 55) == pytest.approx(0.5, abs=1e-4)
    assert largest_share(lambda share: 10 + 90 * share, 200) == 1 and largest_share(lambda share: 10, 9) is None


def test_a_small_pack_leaves_out_what_it_must(sources, packed, tmp_path):
    megabytes = packed[1].bytes / 1e6 * 0.75
    manifest = pack(sources, tmp_path / "pack", max_mb=megabytes)
    size = sum(path.stat().st_size for path in (tmp_path / "pack").rglob("*") if path.is_file())
    arm = manifest.sets[0]
    assert size <= megabytes * 1e6 and arm.left_out["train"] in (2, 4) and arm.left_out["test"] == 0
    (folder, _) = unpack(tmp_path / "pack", tmp_path / "data")
    left = LeRobotDataset(folder)
    groups = Counter(left.episode(number).extra["group"] for number in range(len(left)))
    assert set(groups.values()) == {2} and len(LeRobotDataset(folder, "test")) == 2
    with pytest.raises(InputError, match=r"max_mb=0.001 has no room .* nearest: \d"):
        pack(sources, tmp_path / "none", max_mb=0.001)
    with pytest.raises(InputError, match=r"max_mb=0.001 has no room .* nearest: 1, or"):
        pack(sources, tmp_path / "none", max_mb=0.001, splits=["train"])
    assert not (tmp_path / "none").exists() and not list(tmp_path.glob(".none*"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crf": 60}, "crf=60 is not in 0 to 51; nearest: 51"),
        ({"max_mb": -1}, "max_mb=-1 is no size; nearest: 45"),
        ({"fps": {"arm": 15}}, "fps of arm=15 is no whole part of the 20 that are recorded; nearest: 20"),
        ({"fps": {"arms": 10}}, "'arms' is not in the data sets; nearest: 'arm'"),
        ({"splits": ["trian"]}, "'trian' is not in the splits of .*; nearest: 'train'"),
        ({"camera": "eyes"}, "'eyes' is not in the cameras of .*; nearest: 'eye'"),
    ],
)
def test_what_is_not_packed(sources, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        pack(sources, tmp_path / "pack", **change)
    assert not list(tmp_path.iterdir())


def test_sets_of_one_name_are_refused(sources, tmp_path):
    with pytest.raises(InputError, match="two data sets are called arm"):
        pack([sources[0], sources[0]], tmp_path / "pack")


def cut(folder):
    with (folder / "sets/arm/video-000.mp4").open("r+b") as file:
        file.truncate(1000)


def flip(folder):
    with (folder / "sets/arm/rows-000.xz").open("r+b") as file:
        file.seek(40)
        file.write(bytes([file.read(1)[0] ^ 1]))


def edit(folder):
    file = folder / "manifest.json"
    file.write_text(file.read_text().replace('"arm"', '"leg"'))


def lead_out(folder):
    file = folder / "manifest.json"
    told = json.loads(file.read_text())
    told["sets"][0]["name"] = "../arm"
    told.pop("sha256")
    file.write_text(
        json.dumps(told | {"sha256": hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()})
    )


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lead_out, r"manifest.json is damaged \(.*\.\./arm.* is not a plain name"),
        (cut, r"video-000.mp4 has 1000 bytes and had \d+; copy the pack again"),
        (flip, "rows-000.xz is not what was written, as its sha256 differs"),
        (edit, "manifest.json is not what was written, as its sha256 differs"),
        (lambda folder: (folder / "sets/pictures/about.json").unlink(), "about.json is missing; copy the pack again"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json cannot be read as JSON"),
        (lambda folder: (folder / "manifest.json").write_text("{}"), "is no pack: its manifest.json is of something"),
        (lambda folder: (folder / "manifest.json").unlink(), "is no pack: it has no manifest.json"),
    ],
)
def test_a_pack_that_is_not_whole_is_refused_before_anything_is_written(copy, tmp_path, harm, message):
    harm(copy)
    with pytest.raises(InputError, match=message) as error:
        unpack(copy, tmp_path / "data")
    assert "\n" not in str(error.value) and not (tmp_path / "data").exists()


def test_a_disk_that_is_full_is_told_beforehand(packed, tmp_path, monkeypatch):
    usage = SimpleNamespace(free=10_000)
    monkeypatch.setattr("vgen.data.pack.unpacking.shutil.disk_usage", lambda folder: usage)
    with pytest.raises(TryAgain, match=r"needs \S+ GB for arm, pictures and its disk has 0.0 GB left"):
        unpack(packed[0], tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())


def test_a_broken_unpacking_goes_on_and_what_is_there_stays(packed, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    from vgen.data.pack import unpacking

    read, asked = unpacking.FrameStream.read, []

    def breaks_off(self, first, count):
        asked.append(first)
        if len(asked) == 5:
            raise Killed
        return read(self, first, count)

    monkeypatch.setattr(unpacking.FrameStream, "read", breaks_off)
    with pytest.raises(Killed):
        unpack(packed[0], tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["arm.unpacking"]
    (tmp_path / "pictures").mkdir()
    with pytest.raises(InputError, match="pictures is there and is not the pictures of this pack"):
        unpack(packed[0], tmp_path)
    (tmp_path / "pictures").rmdir()
    assert unpack(packed[0], tmp_path) == [tmp_path / "arm", tmp_path / "pictures"]
    assert len(asked) <= 5 + 8 - 3 + 3, "what was decoded before is decoded again"
    monkeypatch.setattr(unpacking.FrameStream, "read", None)
    assert unpack(packed[0], tmp_path) == [tmp_path / "arm", tmp_path / "pictures"]
