import hashlib

import numpy as np
import pytest
from full_disk import full_disk

from vgen.errors import InputError, TryAgain
from vgen.inference.output import write_frames
from vgen.media.video import read_video, video_info
from vgen.media.writing import join_videos, write_video


def test_a_video_that_the_disk_does_not_hold(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (40, 64, 64, 3), dtype=np.uint8)
    write_video(tmp_path / "whole.mp4", noise, 15)
    with full_disk(1 << 15):
        with pytest.raises(TryAgain, match=r"part.mp4 cannot be written: File too large"):
            write_video(tmp_path / "part.mp4", noise, 15)
        with pytest.raises(TryAgain, match=r"part.mp4 cannot be written: File too large"):
            join_videos([tmp_path / "whole.mp4"], tmp_path / "part.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["whole.mp4"]
    with pytest.raises(InputError, match="No such file or directory"):
        write_video(tmp_path / "absent" / "video.mp4", noise, 15)


def test_frames_are_written_as_they_come(tmp_path):
    ramp = np.repeat(np.arange(0, 240, 10, dtype=np.uint8), 32 * 64 * 3).reshape(24, 32, 64, 3)
    parts_seen = []

    def chunks():
        for start, stop in ((0, 17), (17, 18), (18, 24)):
            yield ramp[start:stop]
            parts_seen.append(len(list(tmp_path.iterdir())))

    kept, digest = write_frames(chunks(), tmp_path / "video.mp4", 15, keep={0, 17, 23}, total=24)
    assert parts_seen == [1, 2, 3] and [path.name for path in tmp_path.iterdir()] == ["video.mp4"]
    assert sorted(kept) == [0, 17, 23] and all(np.array_equal(kept[index], ramp[index]) for index in kept)
    assert digest == hashlib.sha256(ramp.tobytes()).hexdigest()
    read = read_video(tmp_path / "video.mp4")
    assert video_info(tmp_path / "video.mp4").fps == 15 and len(read) == 24
    assert np.abs(read.astype(int) - ramp).max() <= 3
    write_video(tmp_path / "once.mp4", ramp, 15)
    assert len(read_video(tmp_path / "once.mp4")) == 24
