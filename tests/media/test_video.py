import errno
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from vgen.errors import InputError, TryAgain
from vgen.media.pixels import to_uint8, to_unit
from vgen.media.video import VideoInfo, read_video, video_info
from vgen.media.writing import VideoWriter, join_videos, write_video


def grey_levels(*levels: int, size: tuple[int, int] = (32, 48)) -> np.ndarray:
    """One flat grey frame per level, so that each frame can be told from the others after coding."""
    return np.stack([np.full((*size, 3), level, np.uint8) for level in levels])


def levels_of(frames: np.ndarray) -> list[int]:
    return [int(round(frame.mean() / 10) * 10) for frame in frames]


def test_a_video_comes_back_with_its_size_rate_and_pictures(tmp_path):
    frames = np.zeros((9, 32, 48, 3), np.uint8)
    frames[:, :16, :, 0] = 200  # red above, blue below
    frames[:, 16:, :, 2] = 200
    write_video(tmp_path / "a.mp4", frames, fps=30000 / 1001)
    info = video_info(tmp_path / "a.mp4")
    assert info == VideoInfo(frames=9, fps=pytest.approx(29.97, abs=0.01), height=32, width=48)
    back = read_video(tmp_path / "a.mp4")
    assert back.shape == frames.shape and back.dtype == np.uint8
    inner = np.r_[2:14, 18:30]  # the colour edge is blurred by 4:2:0
    assert np.abs(back[:, inner].astype(int) - frames[:, inner]).mean() < 4


@pytest.mark.parametrize("width", [16, 48, 72, 96, 98, 128])
def test_narrow_videos_come_back_straight(tmp_path, width):
    ramp = np.linspace(0, 250, width).astype(np.uint8)
    frames = np.broadcast_to(ramp[:, None], (3, 32, width, 3))
    write_video(tmp_path / "a.mp4", frames, fps=10)
    for back in (read_video(tmp_path / "a.mp4"), read_video(tmp_path / "a.mp4", [2, 0])):
        assert np.abs(back - frames[: len(back)].astype(int)).max() < 12


def test_frames_are_read_in_the_order_asked_for(tmp_path):
    write_video(tmp_path / "a.mp4", grey_levels(*range(0, 250, 10)), fps=10)
    assert levels_of(read_video(tmp_path / "a.mp4", [17, 3, 3, 24, 0])) == [170, 30, 30, 240, 0]


def test_the_file_is_h264_with_short_gops_and_no_b_frames(tmp_path):
    write_video(tmp_path / "a.mp4", grey_levels(*[90] * 20), fps=10, gop=4)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.dts is not None]
        assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == Fraction(10)
    assert [packet.is_keyframe for packet in packets] == [n % 4 == 0 for n in range(20)]
    assert all(packet.pts == packet.dts for packet in packets)


def test_joined_videos_hold_the_frames_of_the_parts_at_exact_times(tmp_path):
    parts = []
    for n, levels in enumerate([(0, 10, 20, 30, 40), (100, 110, 120), tuple(range(130, 250, 10))]):
        parts.append(tmp_path / f"{n}.mp4")
        write_video(parts[-1], grey_levels(*levels), fps=80)
    join_videos(parts, tmp_path / "all.mp4")
    expected = [0, 10, 20, 30, 40, 100, 110, 120, *range(130, 250, 10)]
    assert levels_of(read_video(tmp_path / "all.mp4")) == expected
    assert levels_of(read_video(tmp_path / "all.mp4", [7, 6, 19, 4])) == [120, 110, 240, 40]
    with av.open(str(tmp_path / "all.mp4")) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert np.allclose(times, np.arange(20) / 80, atol=1e-6)


@pytest.mark.parametrize("content", [b"", b"not a video at all" * 100])
def test_a_corrupt_video_is_an_input_error(tmp_path, content):
    (tmp_path / "bad.mp4").write_bytes(content)
    with pytest.raises(InputError, match="not a readable video"):
        read_video(tmp_path / "bad.mp4")


def test_a_missing_video_and_a_frame_outside_are_input_errors(tmp_path):
    with pytest.raises(InputError, match="no such video"):
        read_video(tmp_path / "none.mp4")
    write_video(tmp_path / "a.mp4", grey_levels(0, 10, 20), fps=5)
    for frame in (3, -1):
        with pytest.raises(InputError, match=f"frame {frame} is not in the video; it has frames 0 to 2"):
            read_video(tmp_path / "a.mp4", [0, frame])


def test_what_h264_cannot_hold_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="nearest: 32x48"):
        write_video(tmp_path / "a.mp4", grey_levels(0, size=(31, 48)), fps=5)
    with pytest.raises(InputError, match="float32"):
        write_video(tmp_path / "a.mp4", np.zeros((2, 32, 32, 3), np.float32), fps=5)
    for fps, words in (
        (0, "fps=0 must lie in 0.001 to 100000"),
        (float("inf"), "fps=inf must be a finite"),
        ("5", "fps='5'"),
    ):
        with pytest.raises(InputError, match=words):
            write_video(tmp_path / "a.mp4", grey_levels(0), fps=fps)
    with pytest.raises(InputError, match="16x48 follows one of 32x48"), VideoWriter(tmp_path / "a.mp4", 5) as writer:
        writer.add(grey_levels(0))
        writer.add(grey_levels(0, size=(16, 48)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fps", [1e-3, np.float32(7.5), Fraction(30000, 1001), 1e5])
def test_a_rate_of_any_kind_and_size_comes_back(tmp_path, fps):
    write_video(tmp_path / "a.mp4", grey_levels(0, 10, 20), fps=fps)
    assert video_info(tmp_path / "a.mp4").fps == pytest.approx(float(fps), rel=1e-4)


def test_a_suffix_of_no_container_is_told_the_nearest(tmp_path):
    with pytest.raises(InputError, match=r"clip\.xyz: its suffix names no container of h264; nearest: .*clip\.mp4"):
        write_video(tmp_path / "clip.xyz", [np.zeros((16, 16, 3), np.uint8)], 10)
    write_video(tmp_path / "clip.mp4", [np.zeros((16, 16, 3), np.uint8)], 10)
    assert video_info(tmp_path / "clip.mp4").frames == 1


def test_a_full_disk_is_said_in_one_line(tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(av, "open", full)
    with pytest.raises(TryAgain, match="No space left"):
        write_video(tmp_path / "a.mp4", grey_levels(0, 10), fps=5)


def test_pixels_survive_the_way_to_unit_range_and_back():
    pixels = torch.arange(256, dtype=torch.uint8)
    unit = to_unit(pixels)
    assert unit.min() == -1 and unit.max() == 1
    assert torch.equal(to_uint8(unit), pixels)
    assert to_uint8(torch.tensor([-3.0, 3.0])).tolist() == [0, 255]
