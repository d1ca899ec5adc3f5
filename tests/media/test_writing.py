"""A video that takes the place of another one: either of the two is there, and whole."""

import os
import signal

import numpy as np
import pytest
from full_disk import full_disk

from vgen.errors import InputError, TryAgain
from vgen.media.video import read_video, video_info
from vgen.media.writing import VideoWriter, cut_video, join_videos, write_video

OLD = np.full((9, 32, 48, 3), 100, np.uint8)
NOISE = np.random.default_rng(0).integers(0, 255, (40, 64, 64, 3), dtype=np.uint8)


@pytest.fixture
def old(tmp_path):
    """A video of nine frames; after the test it must be there still, and nothing beside it."""
    write_video(tmp_path / "old.mp4", OLD, 5)
    content = (tmp_path / "old.mp4").read_bytes()
    yield tmp_path / "old.mp4"
    assert (tmp_path / "old.mp4").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["old.mp4"]


def test_where_the_block_raises_the_old_video_stays(old):
    with pytest.raises(KeyboardInterrupt), VideoWriter(old, 5) as writer:
        writer.add(OLD)
        raise KeyboardInterrupt
    with pytest.raises(InputError, match=r"16x48 follows one of 32x48 in .*old.mp4"), VideoWriter(old, 5) as writer:
        writer.add(OLD)
        writer.add(OLD[:, :16])


def test_where_the_disk_is_full_the_old_video_stays(old, tmp_path_factory):
    noise = tmp_path_factory.mktemp("noise") / "noise.mp4"
    write_video(noise, NOISE, 5)
    with full_disk(1 << 15):
        for write in (lambda: write_video(old, NOISE, 5), lambda: join_videos([noise], old)):
            with pytest.raises(TryAgain, match=rf"^{old} cannot be written: File too large; make room"):
                write()
        with pytest.raises(TryAgain, match=rf"^{old} cannot be written: File too large; make room"):
            cut_video(noise, 0, 40, old)


def test_where_a_part_is_damaged_the_old_video_stays(old, tmp_path_factory):
    damaged = tmp_path_factory.mktemp("damaged") / "damaged.mp4"
    damaged.write_bytes(b"no video")
    with pytest.raises(InputError, match=r"old.mp4: cannot join the videos"):
        join_videos([old, damaged], old)
    with pytest.raises(InputError, match=r"old.mp4: cannot be cut out of .*damaged.mp4"):
        cut_video(damaged, 0, 1, old)
    with pytest.raises(InputError, match="does not hold frames 3 to 4 behind a key frame"):
        cut_video(old, 3, 5, old)


def test_where_the_process_is_killed_the_old_video_stays(tmp_path):
    file = tmp_path / "old.mp4"
    write_video(file, OLD, 5)
    content = file.read_bytes()
    child = os.fork()
    if not child:
        writer = VideoWriter(file, 5)
        writer.add(np.concatenate([NOISE] * 3))
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert file.read_bytes() == content


def test_a_video_takes_the_place_of_one_that_it_is_made_of(tmp_path):
    file = tmp_path / "a.mp4"
    write_video(file, OLD, 5)
    join_videos([file, file], file)
    assert video_info(file).frames == 18
    cut_video(file, 9, 12, file)
    assert read_video(file).shape == (3, 32, 48, 3)


def test_a_suffix_of_no_container_of_h264_is_refused_by_all_that_write(old):
    for name in ("new", "new.xyz", "new.webm", "new.m3u8"):
        file = old.with_name(name)
        for write in (
            lambda file=file: write_video(file, OLD, 5),
            lambda file=file: join_videos([old], file),
            lambda file=file: cut_video(old, 0, 9, file),
        ):
            with pytest.raises(InputError, match=rf"{name}: "):
                write()


def test_a_folder_that_is_not_there_is_named_without_the_name_aside(old):
    with pytest.raises(InputError, match=r"absent/a.mp4 cannot be written: No such file or directory; name another"):
        write_video(old.parent / "absent" / "a.mp4", OLD, 5)
