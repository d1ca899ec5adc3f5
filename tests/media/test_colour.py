"""Colours as they are meant: matrices, ranges, HDR and wide primaries."""

import av
import numpy as np
import pytest

from vgen.errors import InputError
from vgen.media.video import read_video

COLOURS = np.array(
    [
        [0, 0, 0], [255, 255, 255], [128, 128, 128], [255, 0, 0], [0, 255, 0], [0, 0, 255],
        [200, 120, 90], [30, 90, 160], [250, 240, 10], [60, 60, 60],
    ]
)  # fmt: skip
LUMA = {"BT.601": (0.299, 0.114), "BT.709": (0.2126, 0.0722), "BT.2020": (0.2627, 0.0593)}  # of red and of blue
COLORSPACE = {"BT.601": 6, "BT.709": 1, "BT.2020": 9}
PQ, HLG = 16, 18


def yuv_of(rgb: np.ndarray, matrix: str, full: bool, bits: int = 8) -> np.ndarray:
    """Integer Y, Cb, Cr of RGB 0 to 255, by the formulas of ITU-R BT.601 and BT.709."""
    red, blue = LUMA[matrix]
    rgb = rgb / 255
    y = rgb @ np.array([red, 1 - red - blue, blue])
    chroma = (rgb[..., 2] - y) / (2 - 2 * blue), (rgb[..., 0] - y) / (2 - 2 * red)
    unit = 2 ** (bits - 8)
    scale, offset = ((255 * unit + unit - 1,) * 2, 0) if full else ((219 * unit, 224 * unit), 16 * unit)
    planes = [y * scale[0] + offset, *(part * scale[1] + 128 * unit for part in chroma)]
    return np.stack(planes, axis=-1).round().clip(0, 256 * unit - 1).astype(int)


def write_colours(path, yuv, pixels="yuv444p", codec="libx264", options=None, **tags):
    """A video of 3 frames of bars, one a colour; 32 wide each, 64 high."""
    rows = np.repeat(yuv, 32, axis=0).T[:, None].repeat(64, axis=1)  # [3, H, W]
    if pixels.startswith("yuv420"):
        rows = [rows[0], rows[1, ::2, ::2], rows[2, ::2, ::2]]
    kind = np.uint8 if max(plane.max() for plane in rows) < 256 and "10" not in pixels else np.uint16
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=10, options=options or {"qp": "0", "preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt = rows[0].shape[0], rows[0].shape[1], pixels
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        for number in range(3):
            frame = av.VideoFrame(stream.width, stream.height, pixels)
            for plane, values in zip(frame.planes, rows, strict=True):
                line = np.zeros((plane.height, plane.line_size // kind().itemsize), kind)
                line[:, : values.shape[1]] = values
                plane.update(line.tobytes())
            for name, value in tags.items():
                setattr(frame, name, value)
            frame.pts = number
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def bars(path):
    """The colours of the bars' middles."""
    return read_video(path, [1])[0][32, 16::32].astype(int)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", LUMA)
def test_the_matrix_and_range_that_a_file_names_are_used(tmp_path, matrix, full, suffix):
    tags = {"colorspace": COLORSPACE[matrix], "color_range": 2 if full else 1}
    path = write_colours(tmp_path / f"a.{suffix}", yuv_of(COLOURS, matrix, full), **tags)
    assert np.abs(bars(path) - COLOURS).max() <= 3


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv420p10le", "yuv444p10le"])
def test_other_layouts_of_pixels_keep_their_colours(tmp_path, pixels):
    yuv = yuv_of(COLOURS, "BT.709", False, 10 if "10" in pixels else 8)
    path = write_colours(tmp_path / "a.mp4", yuv, pixels, colorspace=1, color_range=1)
    assert np.abs(bars(path) - COLOURS).max() <= 3


def test_a_file_without_tags_is_read_as_bt601_of_limited_range(tmp_path):
    path = write_colours(tmp_path / "a.mp4", yuv_of(COLOURS, "BT.601", False))
    assert np.abs(bars(path) - COLOURS).max() <= 3


def test_old_names_of_full_range_are_known(tmp_path):
    yuv = yuv_of(COLOURS, "BT.601", True)
    path = write_colours(tmp_path / "a.avi", yuv, "yuvj444p", "mjpeg", {"qmin": "1", "qmax": "1"}, color_range=2)
    assert np.abs(bars(path) - COLOURS).max() <= 4


def pq(nits):
    """The PQ signal, 0 to 1, of a luminance (SMPTE ST 2084)."""
    power = (nits / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(linear):
    """The HLG signal of scene light, 0 to 1 (ITU-R BT.2100)."""
    return np.where(
        linear <= 1 / 12,
        np.sqrt(3 * linear),
        0.17883277 * np.log(np.maximum(12 * linear - 0.28466892, 1e-9)) + 0.55991073,
    )


@pytest.mark.parametrize(
    ("transfer", "signal"),
    [
        (PQ, pq(np.array([0.0, 1, 10, 50, 100, 203, 400, 700, 1000, 1000]))),
        (HLG, hlg(np.array([0.0, 0.001, 0.01, 0.03, 0.08, 0.2649, 0.4, 0.6, 0.8, 1.0]))),
    ],
)
def test_hdr_is_mapped_to_the_range_of_a_screen(tmp_path, transfer, signal):
    grey = np.repeat(signal[:, None] * 255, 3, axis=1)
    tags = {"colorspace": 9, "color_range": 1, "color_primaries": 9, "color_trc": transfer}
    path = write_colours(tmp_path / "a.mp4", yuv_of(grey, "BT.2020", False, 10), "yuv420p10le", **tags)
    found = bars(path)
    assert np.abs(found - found[:, :1]).max() <= 3, "grey stays grey"
    levels = found[:, 1]
    assert levels[0] <= 2 and (np.diff(levels) >= 0).all() and (np.diff(levels[:6]) > 0).all()
    assert 220 < levels[5] < 240, "the white of paper is white, and brighter tones are told apart"
    assert levels[7] < 255 and levels[6] < levels[7]


TO_BT709 = {  # as ITU-R BT.2407 and EBU Tech 3320 print them
    9: [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]],
    12: [[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]],
}
CURVES = {  # to light and back
    1: (lambda v: v**2.4, lambda v: v ** (1 / 2.4)),
    13: (lambda v: ((v + 0.055) / 1.055) ** 2.4, lambda v: 1.055 * v ** (1 / 2.4) - 0.055),
}


@pytest.mark.parametrize("primaries", TO_BT709)
@pytest.mark.parametrize("transfer", CURVES)
def test_wide_primaries_become_those_of_bt709(tmp_path, primaries, transfer):
    colours = np.array([[255, 255, 255], [128, 128, 128], [30, 180, 40], [200, 40, 180], [200, 30, 30], [30, 200, 200]])
    to_light, to_code = CURVES[transfer]
    wide = to_code(to_light(colours / 255) @ np.linalg.inv(TO_BT709[primaries]).T) * 255
    tags = {"colorspace": 9, "color_range": 1, "color_primaries": primaries, "color_trc": transfer}
    path = write_colours(tmp_path / "a.mp4", yuv_of(wide, "BT.2020", False, 10), "yuv420p10le", **tags)
    assert np.abs(bars(path) - colours).max() <= 3


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_colours_of_hdr_below_the_knee_stay_as_they_are(tmp_path, transfer):
    colours = np.array([[150, 150, 150], [30, 150, 40], [150, 40, 130], [150, 30, 30], [30, 120, 140], [5, 5, 5]])
    nits = 203 * (colours / 255) ** 2.4 @ np.linalg.inv(TO_BT709[9]).T  # BT.2408
    if transfer == PQ:
        signal = pq(nits)
    else:  # BT.2100, the inverse OOTF of a display of 1000 cd/m²
        luminance = (nits @ [0.2627, 0.6780, 0.0593] / 1000)[:, None]
        signal = hlg(nits / 1000 * luminance ** (1 / 1.2 - 1))
    tags = {"colorspace": 9, "color_range": 1, "color_primaries": 9, "color_trc": transfer}
    path = write_colours(tmp_path / "a.mp4", yuv_of(signal * 255, "BT.2020", False, 10), "yuv420p10le", **tags)
    assert np.abs(bars(path) - colours).max() <= 4


@pytest.mark.parametrize(("matrix", "name"), [(8, "YCgCo"), (10, "BT.2020 constant luminance"), (14, "ICtCp")])
def test_matrices_that_cannot_be_turned_into_rgb_are_refused_by_name(tmp_path, matrix, name):
    path = write_colours(tmp_path / "a.mp4", yuv_of(COLOURS, "BT.709", False), colorspace=matrix)
    with pytest.raises(InputError, match=name) as refusal:
        read_video(path)
    assert "\n" not in str(refusal.value)
