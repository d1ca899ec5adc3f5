"""The known tasks of video completion, each no more than a choice of patches.

Every helper takes a canvas (size, prompt, maybe patches already) and returns one with more patches, so helpers chain.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping

import numpy as np
from PIL import Image, ImageOps

from vgen import checks
from vgen.canvas.spec import Canvas, Patch
from vgen.errors import InputError
from vgen.media.fitting import box_pixels
from vgen.media.masks import grey_plane
from vgen.media.patch import Media, Mode
from vgen.media.source import media_length, read_media

Box = tuple[float, float, float, float]

REACH = 10.0  # canvases that the box of a camera move may lie beyond the border


def first_frame(canvas: Canvas, image: Media) -> Canvas:
    """Image to video."""
    return any_frames(canvas, {0: image})


def last_frame(canvas: Canvas, image: Media) -> Canvas:
    """A video that ends on an image."""
    return any_frames(canvas, {-1: image})


def first_last(canvas: Canvas, first: Media, last: Media) -> Canvas:
    """Interpolation between two images."""
    return any_frames(canvas, {0: first, -1: last})


def first_middle_last(canvas: Canvas, first: Media, middle: Media, last: Media) -> Canvas:
    """Interpolation through a third image, which lies exactly half-way."""
    return any_frames(canvas, {0: first, (canvas.frames - 1) / 2: middle, -1: last})


def any_frames(canvas: Canvas, images: Mapping[float, Media]) -> Canvas:
    """Whole images at any pixel frames, which may be fractional or, counted from the end, negative."""
    return canvas.add(*(Patch(image, frame) for frame, image in images.items()))


def any_patches(canvas: Canvas, images: Iterable[tuple[Media, float, Box]]) -> Canvas:
    """Images at any pixel frames, each in its own box: (image, frame, (x0, y0, x1, y1))."""
    return canvas.add(*(Patch(image, frame, box) for image, frame, box in images))


def inpainting(
    canvas: Canvas, video: Media, hole: Box | None = None, mode: Mode = "frames", mask: Media | None = None
) -> Canvas:
    """Fills a part of a video: a box, or what a mask leaves open.

    Args:
        canvas: As long as the video.
        video: What is around the part that gets filled.
        hole: The box that gets filled, (x0, y0, x1, y1) relative to the canvas. (An image of a hole, in which white is
            filled, is taken too, with a DeprecationWarning: give its negative as `mask`.)
        mode: How the video is encoded, as in `Patch`.
        mask: As in `Patch`, white is given and black gets filled: an image, or a clip of as many frames for a part that
            moves.

    Raises:
        InputError: neither hole nor mask is given, or both are.
    """
    if (hole is None) == (mask is None):
        raise InputError("inpainting takes a hole (a box that is filled) or a mask (white is given); give one of them")
    if hole is None:
        given = mask
    elif isinstance(hole, tuple | list):
        given = np.full((canvas.height, canvas.width), 255, np.uint8)
        left, top, right, bottom = box_pixels(checks.box(hole), canvas)
        given[top:bottom, left:right] = 0
    else:
        rule = "an image as hole=, white being filled, goes with the next release; give mask=, in which white is given"
        warnings.warn(rule, DeprecationWarning, stacklevel=2)
        given = _inverted(hole)
    return canvas.add(Patch(video, mask=given, mode=mode))


def outpainting(canvas: Canvas, video: Media, box: Box, mode: Mode = "frames") -> Canvas:
    """Continues a video beyond its borders: it plays inside the box."""
    return canvas.add(Patch(video, box=box, mode=mode))


def extension(canvas: Canvas, clip: Media, frames: int, mode: Mode = "frames") -> Canvas:
    """Goes on from the last frames of a clip: they become the first ones of the canvas.

    Raises:
        InputError: the clip does not have as many frames.
    """
    length = media_length(clip)
    checks.whole("frames", frames, 1, length)
    return canvas.add(Patch(clip, mode=mode, range=(length - frames, length - 1)))


def transition(canvas: Canvas, before: Media, after: Media, mode: Mode = "frames") -> Canvas:
    """Leads from one clip, at the start of the canvas, to another one at its end."""
    length = media_length(after)
    if media_length(before) + length >= canvas.frames:
        raise InputError(
            f"clips of {media_length(before)} and {length} frames leave none to generate in a canvas of "
            f"{canvas.frames}; cut them shorter, or take a longer canvas"
        )
    return canvas.add(Patch(before, mode=mode), Patch(after, -length, mode=mode))


def seamless_loop(canvas: Canvas, source: Media, mode: Mode = "frames") -> Canvas:
    """A video that ends as it begins: an image or a clip lies at both ends.

    To play it over and over, leave out the last frames, which repeat the first (one for an image).

    Raises:
        InputError: a clip leaves no frame to generate between its start and its return.
    """
    length = media_length(source)
    if length > 1 and 2 * length >= canvas.frames:
        rule = f"at both ends of a canvas of {canvas.frames} leaves none to generate"
        raise InputError(f"a clip of {length} frames {rule}; cut it shorter, or take a longer canvas")
    return canvas.add(Patch(source, mode=mode), Patch(source, -length, mode=mode))


def camera_move(canvas: Canvas, image: Media, start: Box, end: Box, step: int = 4) -> Canvas:
    """Moves a camera over a still image: the image lies in a box that moves, and what is outside gets generated.

    A box that shrinks is a zoom out, one that moves to the left a pan to the right. Boxes may reach beyond the canvas
    (-0.5 or 1.5): the camera then sees a part of the image.

    Args:
        canvas: Its first frame shows the image in `start`, its last one in `end`.
        image: A still; it is cropped to the aspect of `start`.
        start: (x0, y0, x1, y1) relative to the canvas.
        end: The same.
        step: Every step-th frame is given, and the last one; fewer are faster.

    Raises:
        InputError: the image is a clip, or a box is no box, or leaves the canvas altogether on the way.
    """
    ends = np.array([checks.box(box, reach=REACH) for box in (start, end)])
    x0, y0, x1, y1 = ends[0] * ((canvas.width, canvas.height) * 2)
    if (length := media_length(image)) > 1:
        raise InputError(f"a camera moves over one picture, and this clip has {length}; give one of its frames")
    still = Image.fromarray(read_media(image)[0])
    still = ImageOps.fit(still, _largest(still.size, (x1 - x0) / (y1 - y0)))
    frames = {*range(0, canvas.frames, checks.whole("step", step, 1, canvas.frames)), canvas.frames - 1}
    shares = {frame: frame / max(1, canvas.frames - 1) for frame in sorted(frames)}
    moved = (_seen(canvas, still, frame, (1 - share) * ends[0] + share * ends[1]) for frame, share in shares.items())
    return canvas.add(*moved)


def _inverted(mask: Media) -> np.ndarray:
    planes = np.stack([255 - grey_plane(pixels) for pixels in read_media(mask)])
    return planes[0] if len(planes) == 1 else np.repeat(planes[..., None], 3, axis=-1)


def _largest(size: tuple[int, int], aspect: float) -> tuple[int, int]:
    """The largest (width, height) of this aspect inside a size."""
    width, height = size
    if width > height * aspect:
        return max(1, round(height * aspect)), height
    return width, max(1, round(width / aspect))


def _seen(canvas: Canvas, still: Image.Image, frame: int, box: np.ndarray) -> Patch:
    """What a frame sees of an image that fills a box of any place: resampled at its true, sub-pixel position."""
    size = np.array([canvas.width, canvas.height])
    low, high = np.round(box[:2] * size, 6), np.round(box[2:] * size, 6)
    first, last = np.clip(np.ceil(low), 0, size), np.clip(np.floor(high), 0, size)
    if (first >= last).any():
        place = ",".join(f"{end:g}" for end in box)
        raise InputError(f"at frame {frame} the box {place} lies outside the canvas; move start or end towards 0,0,1,1")
    scale = still.size / (high - low)
    crop = np.clip([(first - low) * scale, (last - low) * scale], 0, still.size)
    seen = still.resize((last - first).astype(int).tolist(), Image.Resampling.BICUBIC, box=crop.ravel().tolist())
    return Patch(np.array(seen), frame, (*(first / size).tolist(), *(last / size).tolist()))
