import av
import numpy as np
import pytest
from uneven_videos import TICKS, write_uneven

from vgen.errors import InputError
from vgen.media.video import VideoInfo
from vgen.media.writing import write_video
from vgen.sources.hands.footage import HandVideo, lens_of, looked_at, usual_rate, usual_size
from vgen.sources.source import LeftOut


def shaded(path, frames, fps, size=(32, 32)):
    """Frame k is of grey 4 k."""
    write_video(path, np.stack([np.full((*size, 3), 4 * k, np.uint8) for k in range(frames)]), fps)
    return path


def greys(video):
    return np.array([frame.mean() for frame in video.each()])


def test_a_video_of_its_own_rate_and_of_twice_the_rate_gives_its_own_frames(tmp_path):
    same = HandVideo(shaded(tmp_path / "a.mp4", 20, 30), 30)
    assert len(same) == 20 and np.allclose(greys(same), 4 * np.arange(20), atol=2)
    half = HandVideo(shaded(tmp_path / "b.mp4", 21, 59.94), 30)
    assert len(half) == 11 and np.allclose(greys(half), 8 * np.arange(11), atol=2)


def test_of_a_variable_rate_the_frame_is_taken_that_is_shown(tmp_path):
    video = HandVideo(write_uneven(tmp_path / "a.mkv"), 30)
    times = np.arange(len(video)) / 30
    shown = np.searchsorted(np.array(TICKS) / 300, times + 1e-6, side="right") - 1
    assert len(video) >= 30
    assert np.allclose(greys(video), 20 + 30 * shown, atol=3)
    assert video.repeated == int((np.diff(shown) == 0).sum()) > 10


def test_a_mirrored_video_is_turned_over(tmp_path):
    pixels = np.zeros((4, 32, 32, 3), np.uint8)
    pixels[:, :, :16] = 200
    write_video(tmp_path / "a.mp4", pixels, 30)
    frame = next(iter(HandVideo(tmp_path / "a.mp4", 30, mirrored=True).each()))
    assert frame[:, :12].mean() < 20 and frame[:, -12:].mean() > 180


@pytest.mark.parametrize("said, millimetres", [("24", 24.0), ("0", None), ("wide", None), (None, None)])
def test_the_lens_is_what_the_file_says(tmp_path, said, millimetres):
    file = tmp_path / "a.mov"
    with av.open(str(file), "w", options={"movflags": "use_metadata_tags"}) as out:
        if said is not None:
            out.metadata["com.apple.quicktime.camera.focal_length.35mm_equivalent"] = said
        stream = out.add_stream("libx264", rate=30)
        stream.width = stream.height = 32
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        out.mux(stream.encode(frame))
        out.mux(stream.encode())
    assert lens_of(file) == millimetres


def test_what_is_no_video_is_told(tmp_path):
    (tmp_path / "a.mp4").write_text("no video\n" * 20)
    with pytest.raises(LeftOut, match="its video cannot be read"):
        lens_of(tmp_path / "a.mp4")
    with pytest.raises(InputError, match="not a readable video file"):
        looked_at([tmp_path / "a.mp4"])
    good = shaded(tmp_path / "b.mp4", 2, 24)
    assert [info.fps for info in looked_at([tmp_path / "a.mp4", good])] == [24]


def test_rates_and_sizes_of_a_data_set_that_does_not_say():
    videos = [VideoInfo(9, 59.94, 2160, 3840), VideoInfo(9, 23.976, 100, 100)]
    assert usual_rate(videos[:1]) == 30
    assert usual_rate(videos) == 24
    assert usual_size(videos[0]) == (480, 854)
    assert usual_size(VideoInfo(9, 30, 1920, 1081)) == (852, 480)
    assert usual_size(VideoInfo(9, 30, 101, 203)) == (100, 202)
