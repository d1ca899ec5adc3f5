import io
from fractions import Fraction

import numpy as np
import pytest
from made_videos import Clip, make
from PIL import Image

from vgen.media.writing import write_video
from vgen.sources.reading.frames import PIECE, ArrayFrames, ImageFrames, VideoFrames, pieces
from vgen.sources.source import LeftOut


def levels(count: int, size=(32, 48)) -> np.ndarray:
    return np.stack([np.full((*size, 3), 10 * k % 250, np.uint8) for k in range(count)])


def png(level: int, size=(32, 48), mode="RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, size[::-1], (level,) * len(mode)).save(file, "PNG")
    return file.getvalue()


def means(array: np.ndarray) -> list[int]:
    return [round(frame.mean()) for frame in array]


def test_frames_of_a_video_are_those_of_the_numbers_or_times(tmp_path):
    write_video(tmp_path / "a.mp4", levels(20), 10)
    whole = VideoFrames(tmp_path / "a.mp4")
    assert len(whole) == 20 and whole.end == pytest.approx(2) and np.allclose(whole.times, np.arange(20) / 10)
    chosen = VideoFrames(tmp_path / "a.mp4", numbers=[3, 3, 19, 0])
    assert np.allclose(means(chosen.read(0, 4)), [30, 30, 190, 0], atol=2)
    timed = VideoFrames(tmp_path / "a.mp4", seconds=np.arange(4) / 2 + 0.05)
    assert np.allclose(means(timed.read(1, 4)), [50, 100, 150], atol=2)


def test_frames_of_a_variable_rate_are_those_shown_at_the_times(tmp_path):
    times = [1000, 1040, 1300, 1340, 2000]  # ticks of 1/1000 s; the file does not begin at 0
    path = make(tmp_path, "v", Clip(".mkv", "ffv1", frames=5, times=times, tick=Fraction(1, 1000)))
    frames = VideoFrames(path, seconds=[0, 0.2, 0.301, 0.9])
    assert np.allclose(frames.times, [0, 0.04, 0.3, 0.34])
    assert np.array_equal(frames.read(0, 4), VideoFrames(path, numbers=[0, 1, 2, 3]).read(0, 4))


def test_a_video_without_the_frames_that_are_wanted_is_left_out(tmp_path):
    write_video(tmp_path / "a.mp4", levels(20), 10)
    with pytest.raises(LeftOut, match=r"too few frames: frame 20 is wanted, of 20"):
        VideoFrames(tmp_path / "a.mp4", numbers=range(21))
    with pytest.raises(LeftOut, match=r"no frame at a time that is wanted: 2.500 s of 2.000 s"):
        VideoFrames(tmp_path / "a.mp4", seconds=[0, 2.5])
    with pytest.raises(LeftOut, match=r"missing: b\.mp4"):
        VideoFrames(tmp_path / "b.mp4")
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    with pytest.raises(LeftOut, match=r"its video cannot be read: .*cut\.mp4"):
        VideoFrames(tmp_path / "cut.mp4")


def test_a_video_that_is_damaged_within_is_left_out_when_it_is_read(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (20, 64, 64, 3), np.uint8)
    write_video(tmp_path / "a.mp4", noise, 10)
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(LeftOut, match="its video"):
        frames = VideoFrames(tmp_path / "a.mp4")
        list(pieces(frames))


def test_frames_of_images_come_from_files_and_bytes_and_in_pieces(tmp_path):
    (tmp_path / "0.png").write_bytes(png(7))
    images = [tmp_path / "0.png", png(9), png(11)] * PIECE
    read = list(pieces(ImageFrames(images)))
    assert [len(piece) for piece in read] == [PIECE] * 3 and read[0].shape[1:] == (32, 48, 3)
    assert means(np.concatenate(read))[:4] == [7, 9, 11, 7]


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (b"no image", "a frame is damaged: frame 1 of 2"),
        (png(9)[:60], "a frame is damaged: frame 1 of 2"),
        (png(9, (30, 48)), "different sizes: frame 1 of 2 of 30x48, others of 32x48"),
        (png(100, mode="RGBA"), "transparent in some places: frame 1 of 2"),
        ("1.png", "a frame is missing: frame 1 of 2, 1.png"),
    ],
)
def test_images_that_do_not_make_a_take_are_left_out(tmp_path, odd, said):
    with pytest.raises(LeftOut, match=said):
        ImageFrames([png(7), tmp_path / odd if isinstance(odd, str) else odd]).read(0, 2)


def test_frames_of_an_array_are_its_own():
    array = levels(5)
    assert np.array_equal(np.concatenate(list(pieces(ArrayFrames(array)))), array)
