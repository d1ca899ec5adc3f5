"""Frames as they are meant to be seen: turned, mirrored, of square pixels, and with their alpha."""

from fractions import Fraction

import av
import numpy as np
import pytest
from made_videos import CASES, Clip, add_stream
from PIL import Image
from video_table import h264

from vgen.media.video import VideoFile, read_video, video_info

GREY = 128


def quarters():
    """A picture whose turns and mirrors all differ: uint8 [64, 96, 3]."""
    pixels = np.full((64, 96, 3), 40, np.uint8)
    pixels[:32, :48] = (220, 30, 30)
    pixels[:32, 48:] = (30, 220, 30)
    pixels[32:, :48] = (30, 30, 220)
    return pixels


def write_turned(path, matrix):
    with av.open(str(path), "w") as out:
        stream = add_stream(out, Clip("mp4", "libx264", h264(4, 0, qp="0"), size=(64, 96), pixels="yuv444p"))
        stream.set_display_matrix(matrix)
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(quarters(), format="rgb24").reformat(format="yuv444p")
            frame.pts = number
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize(
    ("a", "b", "c", "d", "upright"),  # x' = a x + c y, y' = b x + d y: where a pixel of the stream is shown
    [
        (1, 0, 0, 1, lambda pixels: pixels),
        (-1, 0, 0, 1, lambda pixels: pixels[:, ::-1]),
        (1, 0, 0, -1, lambda pixels: pixels[::-1]),
        (-1, 0, 0, -1, lambda pixels: np.rot90(pixels, 2)),
        (0, 1, -1, 0, lambda pixels: np.rot90(pixels, -1)),
        (0, -1, 1, 0, lambda pixels: np.rot90(pixels)),
        (0, 1, 1, 0, lambda pixels: pixels.transpose(1, 0, 2)),
        (0, -1, -1, 0, lambda pixels: np.rot90(pixels.transpose(1, 0, 2), 2)),
    ],
)
def test_the_display_matrix_turns_and_mirrors(tmp_path, a, b, c, d, upright, suffix):
    one = 1 << 16
    matrix = [a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30]
    path = write_turned(tmp_path / f"a.{suffix}", matrix)
    expected = upright(quarters())
    info, found = video_info(path), read_video(path, [3, 1])
    assert (info.height, info.width) == expected.shape[:2] and found.shape == (2, *expected.shape)
    assert np.abs(found.astype(int) - expected).max() <= 6


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
@pytest.mark.parametrize(
    ("aspect", "size"),
    [((1, 1), (64, 96)), ((2, 1), (64, 192)), ((1, 2), (128, 96)), ((4, 3), (64, 128)), ((16, 15), (64, 102))],
)
def test_pixels_are_made_square_along_their_longer_side(tmp_path, aspect, size, suffix):
    path = tmp_path / f"a.{suffix}"
    with av.open(str(path), "w") as out:
        stream = add_stream(out, Clip(suffix, "libx264", h264(4, 0, qp="0"), size=(64, 96), pixels="yuv444p"))
        stream.codec_context.sample_aspect_ratio = Fraction(*aspect)
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(quarters(), format="rgb24").reformat(format="yuv444p")
            frame.pts = number
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    info, found = video_info(path), read_video(path)
    assert (info.height, info.width) == size and found.shape == (5, *size, 3)
    height, width = size
    for row, column in ((8, 8), (8, 88), (56, 8), (56, 88)):
        seen = found[2, row * height // 64, column * width // 96].astype(int)
        assert np.abs(seen - quarters()[row, column]).max() <= 6


# encoder, container, pixel format, options, and how far alpha and colour may be off
ALPHA = {
    "prores": ("prores_ks", "mov", "yuva444p10le", {"profile": "4", "alpha_bits": "16"}, 4),
    "vp9": ("libvpx-vp9", "webm", "yuva420p", {"crf": "4", "b": "0", "cpu-used": "8"}, 12),
    "vp8": ("libvpx", "webm", "yuva420p", {"crf": "4", "b": "4M", "auto-alt-ref": "0", "cpu-used": "8"}, 12),
    "vp8_mkv": ("libvpx", "mkv", "yuva420p", {"crf": "4", "b": "4M", "auto-alt-ref": "0", "cpu-used": "8"}, 12),
    "qtrle": ("qtrle", "mov", "argb", {}, 0),
    "png": ("png", "mov", "rgba", {}, 0),
    "apng": ("apng", "apng", "rgba", {}, 0),
    "ffv1": ("ffv1", "mkv", "yuva420p", {}, 4),
    "ffv1_rgb": ("ffv1", "mkv", "bgra", {}, 0),
    "utvideo": ("utvideo", "avi", "gbrap", {}, 0),
}
LEVELS = (0, 100, 255)  # of alpha, from left to right


def glass(number):
    """uint8 [64, 96, 4]: one colour that brightens with time, in three bands of alpha."""
    pixels = np.full((64, 96, 4), (200, 60 + 10 * number, 40, 0), np.uint8)
    for band, level in enumerate(LEVELS):
        pixels[:, 32 * band : 32 * band + 32, 3] = level
    return pixels


def write_glass(path, codec, pixels, options):
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=10, options=options)
        stream.height, stream.width, stream.pix_fmt = 64, 96, pixels
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(glass(number), format="rgba").reformat(format=pixels)
            frame.pts = number
            out.mux(stream.encode(frame))
        out.mux(stream.encode())


def on_grey(pixels):
    share = pixels[..., 3:] / 255
    return pixels[..., :3] * share + GREY * (1 - share)


@pytest.mark.parametrize("kind", ALPHA)
def test_alpha_is_read_where_it_is_wanted_and_laid_on_grey_where_not(tmp_path, kind):
    codec, suffix, pixels, options, off = ALPHA[kind]
    path = tmp_path / f"a.{suffix}"
    write_glass(path, codec, pixels, options)
    file = VideoFile(path)
    assert file.info.alpha and file.info.frames == 10
    order, middles = [7, 2, 9, 0], np.s_[32, 16::32]
    for number, found in zip(order, file.read(order, alpha=True), strict=True):
        seen, given = found[middles].astype(int), glass(number)[middles].astype(int)
        assert np.abs(seen[:, 3] - LEVELS).max() <= off
        assert np.abs(seen[1:, :3] - given[1:, :3]).max() <= off + 3  # what is not seen at all may be any colour
    for number, found in zip(order, file.read(order), strict=True):
        assert found.shape == (64, 96, 3)
        assert np.abs(found[middles] - on_grey(glass(number)[middles])).max() <= off + 3


def test_a_gif_has_the_alpha_of_its_palette(tmp_path):
    path = tmp_path / "a.gif"
    frames = []
    for number in range(6):
        pixels = glass(number)
        pixels[..., 3] = np.where(pixels[..., 3] > 127, 255, 0)
        frames.append(Image.fromarray(pixels))
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, disposal=2, loop=0)
    file = VideoFile(path)
    assert file.info.alpha and file.info.frames == 6
    for number in (4, 1, 5):
        found, plain = file.read([number], alpha=True)[0], file.read([number])[0]
        assert found[32, 16::32, 3].tolist() == [0, 0, 255]
        assert np.abs(found[32, 80, :3].astype(int) - glass(number)[32, 80, :3]).max() <= 8
        assert (plain[32, 16] == GREY).all() and np.array_equal(plain[32, 80], found[32, 80, :3])


def test_a_file_without_alpha_gives_three_channels_also_where_alpha_is_wanted(tmp_path):
    path = write_turned(tmp_path / "a.mp4", [1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30])
    file = VideoFile(path)
    assert not file.info.alpha and file.read([0], alpha=True).shape == (1, 64, 96, 3)


@pytest.mark.skipif(not CASES.is_dir(), reason="needs the collection of files that went wrong")
@pytest.mark.parametrize("name", ["prores4444.mov", "tr.gif", "vp9a.webm"])
def test_the_alpha_of_files_that_went_wrong_is_read(name):
    file = VideoFile(CASES / "alpha-clips" / name)
    alpha = file.read([0], alpha=True)[0, ..., 3] / 255
    assert file.info.alpha and alpha.mean() == pytest.approx(0.098, abs=0.01)


@pytest.mark.skipif(not CASES.is_dir(), reason="needs the collection of files that went wrong")
def test_the_pixels_of_a_file_that_went_wrong_are_square():
    info = video_info(CASES / "pixel-aspect" / "sar.mp4")
    assert (info.height, info.width) == (192, 320)
