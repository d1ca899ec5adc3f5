import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from uneven_videos import write_uneven

from vgen.data import footage as module
from vgen.data.footage import LeRobotFootage, VideoFolder
from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.data.lerobot.writer import LeRobotWriter
from vgen.errors import InputError
from vgen.media.writing import write_video


def video(brightness, frames=12, height=32, width=48):
    """Frame t is grey of brightness + 4 t."""
    values = brightness + 4 * np.arange(frames)
    return np.broadcast_to(values[:, None, None, None], (frames, height, width, 3)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "videos"
    path.mkdir()
    write_video(path / "a.mp4", video(20), 10)
    write_video(path / "b.mp4", video(120, 7, 64, 32), 25)
    (path / "a.txt").write_text("first")
    (path / "broken.mp4").write_bytes((path / "a.mp4").read_bytes()[:900])
    (path / "empty.mp4").touch()
    return path


def test_a_folder_tells_what_it_holds_and_what_is_bad(folder, tmp_path):
    footage = VideoFolder(folder, None, tmp_path / "cache")
    assert [(e.name, e.frames, e.fps, e.height, e.width, e.caption) for e in footage.episodes] == [
        ("a.mp4", 12, 10.0, 32, 48, "first"),
        ("b.mp4", 7, 25.0, 64, 32, ""),
    ]
    assert [name for name, _ in footage.bad] == ["broken.mp4", "empty.mp4"]
    assert all("not a readable video file" in reason and str(folder) not in reason for _, reason in footage.bad)
    assert footage.read(1, [6, 0]).shape == (2, 64, 32, 3)
    assert np.allclose(footage.read(0, [11, 3]).mean((1, 2, 3)), [64, 32], atol=3)


def test_a_video_of_a_variable_rate_is_an_episode_of_a_constant_one(tmp_path):
    (tmp_path / "videos").mkdir()
    write_uneven(tmp_path / "videos/a.mp4")
    for _ in range(2):  # found out, and known
        footage = VideoFolder(tmp_path / "videos", None, tmp_path / "cache")
        (episode,) = footage.episodes
        assert episode.fps == pytest.approx(30) and 31 <= episode.frames <= 40
        greys = footage.read(0, [0, 3, 4, 11, 12, 20, 21, 30]).mean((1, 2, 3))
        assert np.allclose(greys, [20, 110, 110, 110, 140, 140, 170, 200], atol=3)
    assert len(list((tmp_path / "cache/indexes").glob("*.npz"))) == 1


def test_a_listed_video_that_is_not_there_is_bad(folder, tmp_path):
    (folder / "metadata.csv").write_text("file_name,text\nlost.mp4,x\na.mp4,y\n")
    footage = VideoFolder(folder, None, tmp_path / "cache")
    assert footage.bad == [("lost.mp4", "no such video file")] and footage.episodes[0].caption == "y"


def test_a_file_is_opened_once_until_it_changes(folder, tmp_path, monkeypatch):
    VideoFolder(folder, None, tmp_path / "cache")
    opened = []
    look = module._look
    monkeypatch.setattr(module, "_look", lambda path, indexes: opened.append(path.name) or look(path, indexes))
    before = VideoFolder(folder, None, tmp_path / "cache").keys
    assert opened == ["broken.mp4", "empty.mp4"]  # bad ones may have been mended
    write_video(folder / "b.mp4", video(120, 9, 64, 32), 25)
    (index,) = (tmp_path / "cache").glob("*-videos-*.jsonl")
    index.write_text(index.read_text()[:-20])  # a last line that broke off
    opened.clear()
    second = VideoFolder(folder, None, tmp_path / "cache")
    assert "b.mp4" in opened and "a.mp4" not in opened
    assert second.episodes[1].frames == 9
    assert before[0] == second.keys[0] and before[1] != second.keys[1]


def test_a_name_that_no_disk_takes_is_bad(folder, tmp_path):
    (folder / "metadata.csv").write_text(f"file_name,text\n{'x' * 300}.mp4,x\na.mp4,y\n")
    footage = VideoFolder(folder, None, tmp_path / "cache")
    assert footage.bad == [("x" * 300 + ".mp4", "no such video file")] and len(footage.episodes) == 1


def test_a_caption_that_cannot_be_read_is_kept_with_its_reason(folder, tmp_path):
    (folder / "b.txt").write_bytes("Käfer".encode("latin-1"))
    footage = VideoFolder(folder, None, tmp_path / "cache")
    assert [(episode.caption, episode.fault[:21]) for episode in footage.episodes] == [
        ("first", ""),
        ("", "its .txt, line 1: not"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"5",
        b"null",
        b"[1]",
        b'["a.mp4"]',
        b'["a.mp4", ["x"], 1, 2, 3, 4]',
        b'["a.mp4", "x", 1]',
        b"\xff\xfe",
        b"\0" * 99,
    ],
)
def test_an_index_that_is_damaged_costs_a_look(folder, tmp_path, line):
    before = VideoFolder(folder, None, tmp_path / "cache")
    (index,) = (tmp_path / "cache").glob("*-videos-*.jsonl")
    index.write_bytes(line + index.read_bytes().replace(b'["b.mp4"', b'["b.mp4'))
    after = VideoFolder(folder, None, tmp_path / "cache")
    assert after.episodes == before.episodes


def test_a_cache_that_cannot_be_written_is_one_line(folder, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"^data\.cache=.*file cannot be written: (Not a directory|a file stands)"):
        VideoFolder(folder, None, tmp_path / "file")


def test_a_file_that_goes_bad_later_is_refused_when_read(folder, tmp_path):
    footage = VideoFolder(folder, None, tmp_path / "cache")
    (folder / "b.mp4").write_bytes(b"no video any more")
    with pytest.raises(InputError, match="not a readable video file"):
        footage.read(1, [0])


def test_threads_and_copies_read_the_same(folder, tmp_path):
    footage = VideoFolder(folder, None, tmp_path / "cache")
    copy = pickle.loads(pickle.dumps(footage))
    wanted = [(place % 2, [place % 7]) for place in range(40)]
    expected = [footage.read(*one) for one in wanted]
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda one: copy.read(*one), wanted))
    assert all(np.array_equal(a, b) for a, b in zip(expected, got, strict=True))


def test_a_lerobot_folder_is_read_without_a_cache(tmp_path):
    writer = LeRobotWriter(tmp_path / "set", 10, {"action": ["x"]}, ["observation.images.front"])
    for number, length in enumerate([5, 8]):
        pixels = video(60 + 100 * number, length, 16, 16)
        writer.add_episode({"action": np.zeros((length, 1))}, {"observation.images.front": pixels}, f"task {number}")
    writer.finish()
    dataset = LeRobotDataset(tmp_path / "set")
    footage = LeRobotFootage(dataset, "observation.images.front")
    assert [(e.name, e.frames, e.fps, e.size, e.caption) for e in footage.episodes] == [
        ("episode 0", 5, 10.0, (16, 16), "task 0"),
        ("episode 1", 8, 10.0, (16, 16), "task 1"),
    ]
    assert np.array_equal(footage.read(1, [7, 2]), dataset.frames(1, "front", [7, 2]))
    with pytest.raises(InputError, match="nearest: 'front'"):
        LeRobotFootage(dataset, "fron")
