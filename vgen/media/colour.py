"""From decoded frames to the pixels that are meant: RGB in BT.709's colours, upright, of square pixels."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from os import PathLike
from typing import cast

import numpy as np
from av.error import FFmpegError
from av.sidedata.sidedata import SideData, Type
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import Interpolation, VideoReformatter

from vgen.errors import InputError
from vgen.media.gamut import is_other, to_screen
from vgen.media.image import on_grey

MAX_SIDE = 16384  # of a frame whose pixels are made square
# AVColorSpace, the matrices that swscale does not know
UNKNOWN_MATRIX = {
    8: "YCgCo",
    10: "BT.2020 constant luminance",
    11: "SMPTE 2085",
    12: "chromaticity-derived",
    13: "chromaticity-derived",
    14: "ICtCp",
    15: "IPT-C2",
    16: "YCgCo-Re",
    17: "YCgCo-Ro",
}
UNSPECIFIED = (0, 2)


class FrameConverter:
    """Converts the frames of one file.

    YUV is turned into RGB by the matrix and range that the file names (BT.601 and limited range where it names none,
    as FFmpeg reads it). HDR (PQ, HLG) is tone-mapped, and BT.2020 and P3 primaries are turned into those of BT.709: see
    `vgen.media.gamut`. The display matrix turns and mirrors; pixels that are not square are stretched along their
    longer side.

    Args:
        file: named in errors.
        aspect: width of a pixel over its height; None: not known, square.
    """

    def __init__(self, file: str | PathLike[str], aspect: Fraction | None = None) -> None:
        self._file = file
        self._aspect = Fraction(aspect or 1)
        self._reformatter = VideoReformatter()

    def plain(self, frame: VideoFrame) -> bool:
        """Whether a frame needs nothing but its matrix: no tone-mapping, turn, stretch or alpha."""
        return not (_is_other(frame) or has_alpha(frame) or turn_of(frame) != (False, False, False)) and (
            self._square(frame) == (frame.height, frame.width)
        )

    def pixels(self, frame: VideoFrame, alpha: bool = False) -> np.ndarray:
        """uint8 [H, W, 3], or [H, W, 4] where alpha is wanted and the frame has one. Where it is not wanted, what is
        transparent is laid on mid-grey.

        Raises:
            InputError: colours that cannot be turned into RGB; it names them.
        """
        self._check(frame)
        try:
            rgb = self._rgb(frame)
        except FFmpegError as error:
            raise InputError(f"{self._file}: its pixels ({frame.format.name}) cannot be turned into RGB") from error
        upright = _turned(rgb, *turn_of(frame))
        return upright if alpha or upright.shape[2] == 3 else on_grey(upright)

    def _check(self, frame: VideoFrame) -> None:
        matrix = UNKNOWN_MATRIX.get(int(frame.colorspace))
        if _side_data(frame, Type.DOVI_METADATA) and int(frame.color_trc) in UNSPECIFIED:
            matrix = "Dolby Vision without a base layer of its own (profile 5)"
        if matrix:
            raise InputError(
                f"{self._file}: its colours are {matrix}, which vgen cannot turn into RGB; convert to BT.709"
            )

    def _square(self, frame: VideoFrame) -> tuple[int, int]:
        """(H, W) of a frame whose pixels are square, before it is turned."""
        height, width = frame.height, frame.width
        if self._aspect > 1:
            width = round(width * self._aspect)
        else:
            height = round(height / self._aspect)
        if max(height, width) > MAX_SIDE:
            raise InputError(
                f"{self._file}: its pixels of {self._aspect.numerator}:{self._aspect.denominator} would make it "
                f"{height}x{width}; at most {MAX_SIDE} a side can be read"
            )
        return height, width

    def _stretch(self, frame: VideoFrame) -> dict[str, int]:
        height, width = self._square(frame)
        if (height, width) == (frame.height, frame.width):
            return {}
        return {"height": height, "width": width, "interpolation": Interpolation.BICUBIC}

    def _rgb(self, frame: VideoFrame) -> np.ndarray:
        """The pixels of a frame with alpha where there is one, before it is turned."""
        alpha, other = has_alpha(frame), _is_other(frame)
        format = ("rgba64le" if alpha else "rgb48le") if other else "rgba" if alpha else "rgb24"
        made = _array(self._reformatter.reformat(frame, format=format, threads=1, **self._stretch(frame)))
        if not other:
            return made
        screen = to_screen(made[..., :3], int(frame.color_primaries), int(frame.color_trc))
        return np.concatenate([screen, (made[..., 3:] >> 8).astype(np.uint8)], axis=2) if alpha else screen


def has_alpha(frame: VideoFrame) -> bool:
    """Whether a frame has an alpha channel (a palette may have one)."""
    return frame.format.name == "pal8" or any(part.is_alpha for part in frame.format.components)


def turn_of(frame: VideoFrame) -> tuple[bool, bool, bool]:
    """How the display matrix turns a frame: whether it is transposed, and then mirrored up-down and left-right."""
    data = _side_data(frame, Type.DISPLAYMATRIX)
    if data is None:
        return False, False, False
    a, b, _, c, d = np.frombuffer(bytes(data), "<i4")[:5].astype(np.int64)  # x' = a x + c y, y' = b x + d y
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return False, bool(d < 0), bool(a < 0)
    return True, bool(b < 0), bool(c < 0)


def _is_other(frame: VideoFrame) -> bool:
    return is_other(int(frame.color_primaries), int(frame.color_trc))


def _side_data(frame: VideoFrame, kind: Type) -> SideData | None:
    return cast(Mapping[Type, SideData], frame.side_data).get(kind)  # PyAV's own types speak of other keys


def plane_bytes(plane: VideoPlane) -> np.ndarray:
    """The bytes of a plane with the padding of its rows, uint8, without a copy."""
    return np.frombuffer(cast(bytes, plane), np.uint8)  # a buffer, which PyAV's own types do not say


def _array(frame: VideoFrame) -> np.ndarray:
    """A packed frame of 3 or 4 channels as uint8 or uint16 [H, W, 3 | 4], without a copy."""
    plane, parts = frame.planes[0], frame.format.components
    kind = np.dtype(np.uint8 if parts[0].bits == 8 else np.uint16)
    rows = plane_bytes(plane).view(kind).reshape(plane.height, plane.line_size // kind.itemsize)
    pixels: np.ndarray = rows[:, : frame.width * len(parts)].reshape(frame.height, frame.width, len(parts))
    return pixels


def _turned(pixels: np.ndarray, transposed: bool, upside_down: bool, mirrored: bool) -> np.ndarray:
    if transposed:
        pixels = pixels.transpose(1, 0, 2)
    return pixels[:: -1 if upside_down else 1, :: -1 if mirrored else 1]
