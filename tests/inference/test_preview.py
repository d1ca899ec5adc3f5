"""Previews: what is small is enlarged, what is short is slowed and repeated, what can be watched is left alone."""

from pathlib import Path

import numpy as np
import pytest
from full_disk import full_disk
from PIL import Image

from vgen.inference.preview import Look, write_previews
from vgen.media.video import VideoFile, VideoInfo
from vgen.media.writing import write_video


@pytest.mark.parametrize(
    ("frames", "fps", "size", "look"),
    [
        (17, 20, (128, 128), Look(3, 8.5, 3)),
        (5, 15, (32, 64), Look(4, 8, 8)),
        (65, 20, (192, 320), Look(2, 20, 2)),
        (17, 16, (480, 832), Look(1, 8.5, 3)),
        (81, 16, (480, 832), Look(1, 16, 1)),
        (1000, 20, (128, 128), Look(3, 20, 1)),
    ],
)
def test_how_a_video_is_shown(frames, fps, size, look):
    assert Look.of(VideoInfo(frames, fps, *size)) == look


def moving_square(folder: Path, frames: int, side: int, fps: float) -> Path:
    video = np.full((frames, side, side, 3), 40, np.uint8)
    for index in range(frames):
        video[index, index : index + side // 4, : side // 4] = 220
    write_video(folder / "video.mp4", video, fps)
    return folder / "video.mp4"


def test_a_preview_plays_the_video_over_and_over(tmp_path):
    video = moving_square(tmp_path, 40, 128, 40)  # more frames than are in memory at once
    assert write_previews(video) == ["preview.mp4 (384x384, 20 fps, 3 times)"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["preview.mp4", "video.mp4"]
    preview, source = VideoFile(tmp_path / "preview.mp4"), VideoFile(video)
    assert (preview.info.frames, preview.info.fps, preview.info.steady) == (120, 20, True)
    for frame in (0, 39, 40, 119):
        small = np.asarray(Image.fromarray(preview.read([frame])[0]).resize((128, 128), Image.Resampling.BOX))
        assert np.abs(small.astype(int) - source.read([frame % 40])[0]).mean() < 3


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_an_animated_picture_has_every_frame(tmp_path, kind):
    told = write_previews(moving_square(tmp_path, 17, 96, 20), kind)
    assert told == ["preview.mp4 (384x384, 8.5 fps, 3 times)", f"video.{kind} (384x384, 8.5 fps)"]
    with Image.open(tmp_path / f"video.{kind}") as picture:
        assert picture.n_frames == 17 and picture.size == (384, 384) and picture.info["loop"] == 0
        picture.seek(16)
        lit = np.asarray(picture.convert("L"))[:, 40] > 130
    assert abs(np.flatnonzero(lit).mean() / 4 - 27.5) < 1  # the square where it is in the last frame


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_an_animated_picture_that_the_disk_does_not_hold_leaves_the_old_one(tmp_path, kind):
    video, picture = moving_square(tmp_path, 9, 256, 4), tmp_path / f"video.{kind}"
    picture.write_bytes(b"an older one")
    with full_disk(512), pytest.raises(OSError, match="File too large"):
        write_previews(video, kind)
    assert picture.read_bytes() == b"an older one" and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("kind", "frames", "fps", "told", "lasts"),
    [("gif", 40, 24, "24", 1670), ("gif", 100, 60, "50", 2000), ("webp", 100, 60, "60", 1667), ("gif", 1, 8, "8", 120)],
)
def test_an_animated_picture_lasts_as_long_as_it_is_told(tmp_path, kind, frames, fps, told, lasts):
    assert write_previews(moving_square(tmp_path, frames, 256, fps), kind)[-1] == f"video.{kind} (256x256, {told} fps)"
    with Image.open(tmp_path / f"video.{kind}") as picture:
        found = []
        for frame in range(picture.n_frames):
            picture.seek(frame)
            picture.load()  # a WebP tells its times no sooner
            found.append(picture.info["duration"])
    assert sum(found) == lasts and min(found) >= 16


def test_a_gif_has_smooth_colours_and_what_stands_still_does_not_flicker(tmp_path):
    ramps = np.stack(np.meshgrid(np.arange(128), np.arange(128)), axis=-1).astype(np.uint8)
    video = np.full((9, 128, 128, 3), 60, np.uint8)
    video[..., :2] += ramps
    for index in range(9):
        video[index, :, 64:] = np.roll(video[index, :, 64:], 12 * index, axis=0) // (1 + index / 8)
    write_video(tmp_path / "video.mp4", video, 4.5)
    write_previews(tmp_path / "video.mp4", "gif")
    with Image.open(tmp_path / "video.gif") as picture:
        seen = []
        for frame in range(9):
            picture.seek(frame)
            seen.append(np.asarray(picture.convert("RGB").resize((32, 32), Image.Resampling.BOX)).astype(int))
    truth = np.stack([np.asarray(Image.fromarray(each).resize((32, 32), Image.Resampling.BOX)) for each in video])
    assert np.abs(np.stack(seen) - truth).mean() < 2  # as the eye sees it, some pixels at once
    assert np.abs(np.diff(seen, axis=0)[:, :, :14]).mean() < 0.5


def test_what_can_be_watched_gets_none(tmp_path):
    assert write_previews(moving_square(tmp_path, 20, 256, 10)) == []
    assert [path.name for path in tmp_path.iterdir()] == ["video.mp4"]
