"""What came out, to look at and in numbers: a contact sheet and how closely each patch was kept."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from os import PathLike

import numpy as np
import torch
from PIL import Image, ImageFilter, ImageOps
from torch import Tensor

from vgen.backbone.codec import Codec
from vgen.backbone.encoding import rebuild
from vgen.backbone.padding import Padding
from vgen.canvas.keep import Seam
from vgen.canvas.placed import PlacedCanvas
from vgen.files import whole_file
from vgen.media.pixels import to_uint8, to_unit
from vgen.media.placing import Placed, over, planes
from vgen.media.sheet import ACCENT, Tile, draw_sheet, number_runs, picture_of, spread, tile_size
from vgen.metrics.pixels import psnr
from vgen.models.outside import Held

PatchKey = tuple[int, str]
"""The index of a patch on its canvas, and its name."""

Video = np.ndarray | Mapping[int, np.ndarray]  # uint8 [T, H, W, 3], or some of its frames by index

CHECKERS = (236, 236, 234), (222, 222, 220)
MOST_FRAMES, MOST_PATCHES = 24, 12
MOST_MEASURED = 8  # given frames that go through the codec by themselves: it takes as long as decoding as many frames
SECTIONS = ("Given", "Completed")
FAR = 5.0  # dB: whole pictures are kept within 1 of the codec, parts within 2 to 4 (docs/results.md)


@dataclass(frozen=True)
class Fidelity:
    """How closely the video keeps one patch.

    Attributes:
        name: The patch, as `cat.png@0`, see `vgen.media.patch.patch_names`.
        first: Pixel frame of its first image.
        last: Pixel frame of its last image.
        area: Part of the frame that it gives, 0..1, without what later patches cover.
        mean: PSNR inside its region in dB, each pixel weighed as it is given, mean over its frames.
        worst: The lowest PSNR of one of its frames, in dB.
        codec: What the codec alone holds of it, in dB, see `codec_psnr`: more than this no model of the codec keeps.
            None where it was not measured.
    """

    name: str
    first: float
    last: float
    area: float
    mean: float
    worst: float
    codec: float | None = None


def fidelity(video: Video, placed: PlacedCanvas, codec: Mapping[PatchKey, Held] | None = None) -> list[Fidelity]:
    """Compares the video with its patches, each inside its own region, by as much as it is given there.

    Where a soft patch lets an earlier one of the same frame through, both are compared with their blend. A patch at a
    fractional frame is compared with the frame nearest to it, the earlier of two. A patch that later
    ones cover wholly has no row.

    Args:
        video: uint8 `[T, H, W, 3]`, or at least the frames of the patches by index.
        placed: The canvas; a later patch hides an earlier one at the same frame, by as much as its mask says.
        codec: What `codec_psnr` says of the patches.
    """
    seen: dict[PatchKey, list[tuple[float, float, float]]] = {}
    for given, frame, pixels, plane in _visible(placed):
        made = to_unit(video[nearest_frame(frame)]).permute(2, 0, 1)
        numbers = (frame, plane.float().mean().item(), _decibels(made, pixels, plane))
        seen.setdefault((given.patch, given.name), []).append(numbers)
    held = {key: each.psnr for key, each in (codec or {}).items()}
    return [_summary(key, numbers, held.get(key)) for key, numbers in seen.items()]


def codec_psnr(
    codec: Codec, placed: PlacedCanvas, most: int = MOST_MEASURED, *, padding: Padding
) -> dict[PatchKey, Held]:
    """How well the codec alone holds each patch: every given frame, alone, through encoder and decoder in image mode,
    compared inside the patch's own region. Means over the frames of a patch.

    Args:
        codec: Of the model.
        placed: The canvas.
        most: Frames that are measured, for the time that it takes: the first of each patch, then others spread evenly.
            A patch of whose frames none is measured is left out.
        padding: What stands in for pixels that are not given, as the model reads them.
    """
    wanted = {_place_of(*measured) for measured in _measured(placed, most)}
    frames = [
        (place, pixels, mask)
        for each in placed.conditions
        for frame, pixels, mask in planes(each)
        if (place := _place_of(each, frame)) in wanted
    ]
    if not frames:
        return {}
    places, pixels, masks = zip(*frames, strict=True)
    rebuilt = rebuild(codec, torch.stack(pixels), torch.stack(masks), padding)
    pairs = dict(zip(places, zip(rebuilt, pixels, strict=True), strict=True))
    seen: dict[PatchKey, list[tuple[float, float]]] = {}
    for given, frame, _, plane in _visible(placed):
        if (pair := pairs.get(_place_of(given, frame))) is not None:
            made, truth = pair
            seen.setdefault((given.patch, given.name), []).append((_decibels(made, truth, plane), plane.mean().item()))
    return {key: Held(*np.mean(numbers, axis=0).tolist()) for key, numbers in seen.items()}


def _place_of(placed: Placed, frame: float) -> tuple[float, torch.Size, float, float]:
    """What a patch has in common with the condition that it is merged into, and a frame of both."""
    return placed.frame, placed.pixels.shape, placed.strength, frame


def _measured(placed: PlacedCanvas, most: int) -> list[tuple[Placed, float]]:
    """Which visible frames are measured: the first one of each patch, then others, as many as may be in all."""
    visible = [(given, frame) for given, frame, _, _ in _visible(placed)]
    first = {given.patch: number for number, (given, _) in reversed(list(enumerate(visible)))}
    others = [number for number in range(len(visible)) if number not in first.values()]
    count = min(len(others), max(0, most - len(first)))
    chosen = [*sorted(first.values())[:most], *(others[number] for number in spread(len(others), count))]
    return [visible[number] for number in sorted(chosen)]


def _visible(placed: PlacedCanvas) -> Iterator[tuple[Placed, float, Tensor, Tensor]]:
    """Every frame of every patch with the part of it that no later patch covers: what lies where, the pixel frame, the
    colours `[3, H, W]` of all that lies there, seen through what is soft, and the mask `[1, H, W]` of the part."""
    given = [(patch, {frame: (pixels, plane) for frame, pixels, plane in planes(patch)}) for patch in placed.patches]
    for index, (patch, frames) in enumerate(given):
        for frame, (_, plane) in frames.items():
            for _, later in given[index + 1 :]:
                if frame in later:
                    plane = plane * (1 - later[frame][1])
            if plane.any():
                together = (others[frame] for _, others in given if frame in others)
                yield patch, frame, reduce(lambda below, above: over(*above, *below), together)[0], plane


def _decibels(made: Tensor, truth: Tensor, plane: Tensor) -> float:
    """PSNR of a picture `[3, H, W]` where a mask `[1, H, W]` weighs it."""
    return psnr(made[None, :, None], truth[None, :, None], plane[None, :, None]).item()


def far_from_codec(rows: Sequence[Fidelity], placed: PlacedCanvas) -> str:
    """Tells, in one line, which patch a model keeps worst, of those that it keeps far worse than its codec alone could;
    "" where there is none. From a patch of a strength below 1 it may depart.

    Args:
        rows: What `fidelity` says, with the codec's figures.
        placed: The canvas.
    """
    firm = {each.name for each in placed.patches if each.strength == 1}
    known = [(row.codec - row.mean, row) for row in rows if row.codec is not None and row.name in firm]
    far = [each for each in known if each[0] > FAR]
    if not far:
        return ""
    worst = max(far, key=lambda each: each[0])[1]
    more = f" and {len(far) - 1} more" if len(far) > 1 else ""
    told = f"kept at {worst.mean:.1f} dB, where its codec holds {worst.codec:.1f}{more}"
    return f"{worst.name} is {told}: the model does poorly with it; keep=exact puts given pixels back"


def format_table(rows: Sequence[Fidelity]) -> str:
    """The rows of `fidelity` as text, one line each below a head line."""
    lines = [("patch", "frames", "area", "PSNR (dB)", "worst (dB)", "codec (dB)")]
    for row in rows:
        frames = f"{row.first:g}" if row.first == row.last else f"{row.first:g}-{row.last:g}"
        codec = "-" if row.codec is None else f"{row.codec:.2f}"
        lines.append((row.name, frames, f"{row.area:.0%}", f"{row.mean:.2f}", f"{row.worst:.2f}", codec))
    first, *others = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join([name.ljust(first), *map(str.rjust, cells, others)]) for name, *cells in lines)


def format_seam(seam: Seam) -> str:
    """What is left of the seams, in one line."""
    steps = ("across borders", seam.space, seam.pasted_space), ("to the next frame", seam.time, seam.pasted_time)
    told = [f"{where} {left:.1f} ({pasted:.1f} if pasted)" for where, left, pasted in steps if left is not None]
    return f"seam, in grey levels: {', '.join(told) or 'none, as all is given'}"


def nearest_frame(frame: float) -> int:
    """The integer frame nearest to a fractional one, the earlier of two."""
    return math.ceil(frame - 0.5)


def given_frames(placed: PlacedCanvas) -> set[int]:
    """The frames of a video with which its patches are compared."""
    return {nearest_frame(frame) for one in placed.patches for frame, _, _ in planes(one)}


def sheet_frames(total: int, placed: PlacedCanvas, most: int = MOST_FRAMES) -> list[int]:
    """Which frames of a video a contact sheet shows: those with patches, if not too many, and others evenly between."""
    given = given_frames(placed)
    given = given if len(given) <= most // 2 else set()
    others = [frame for frame in range(total) if frame not in given]
    count = min(len(others), most - len(given))
    return sorted(given.union(others[index] for index in spread(len(others), count)))


def contact_sheet(video: Video, placed: PlacedCanvas, path: str | PathLike[str], total: int | None = None) -> str:
    """Draws one PNG: the patches that were given, then frames of the video, those with a patch marked.

    Args:
        video: uint8 `[T, H, W, 3]`, of which `sheet_frames` are shown, or the frames to show by index.
        placed: The canvas; its prompt is the line above.
        path: Where the PNG is written, whole or not at all.
        total: Frames of the whole video; those of the canvas, when None.

    Returns:
        Which given frames and frames of the video are not shown, in words, as the sheet says it too; "" where all are.
    """
    total = total or placed.canvas.frames
    indices = sheet_frames(len(video), placed) if isinstance(video, np.ndarray) else sorted(video)
    size = tile_size(*video[indices[0]].shape[:2])
    given = [(one.name, *frame) for one in placed.conditions for frame in planes(one)]
    key_frames = [(one.name, *frame) for one in placed.conditions for frame in _key_frames(one)]
    shown = [key_frames[index] for index in spread(len(key_frames), min(len(key_frames), MOST_PATCHES))]
    masks = {frame: mask for _, frame, _, mask in given}
    told = _left_out({each[1] for each in given}, {each[1] for each in shown}), _left_out(range(total), indices)
    tiles = [_patch_tile(*each, size) for each in shown], [_frame_tile(video[at], at, masks, size) for at in indices]
    headings = [name + (f" ({left_out})" if left_out else "") for name, left_out in zip(SECTIONS, told, strict=True)]
    rows = [row for row in zip(headings, tiles, strict=True) if row[1]]
    with whole_file(path) as aside:
        draw_sheet(placed.prompt, rows, size).save(aside, format="PNG")
    named = zip(SECTIONS, told, strict=True)
    return "; ".join(f"{name.lower()}: {left_out}" for name, left_out in named if left_out)


def _left_out(frames: Collection[float], shown: Collection[float]) -> str:
    """Which frames of some are not shown, in words; "" where all are."""
    missing = set(frames) - set(shown)
    return f"{len(frames) - len(missing)} of {len(frames)} frames, without {number_runs(missing)}" if missing else ""


def _key_frames(placed: Placed) -> list[tuple[float, Tensor, Tensor]]:
    """An image, or the first, the middle and the last frame of a clip."""
    frames = planes(placed)
    return [frames[index] for index in sorted({0, len(frames) // 2, len(frames) - 1})]


def _summary(key: PatchKey, seen: Sequence[tuple[float, float, float]], codec: float | None) -> Fidelity:
    """One row from the (frame, area, PSNR) of a patch's visible frames."""
    frames, areas, decibels = np.array(seen).T
    return Fidelity(key[1], frames.min(), frames.max(), areas.mean(), decibels.mean(), decibels.min(), codec)


def _patch_tile(name: str, frame: float, pixels: Tensor, mask: Tensor, size: tuple[int, int]) -> Tile:
    """A given image on a chequered ground, which shows where nothing is given."""
    picture = picture_of(to_uint8(pixels).permute(1, 2, 0).numpy(), size)
    square = np.add.outer(np.arange(size[1]) // 8, np.arange(size[0]) // 8) % 2
    ground = Image.fromarray(np.array(CHECKERS, np.uint8)[square])
    tile = _outlined(Image.composite(picture, ground, _plane(mask, size)), mask)
    return Tile(tile, f"frame {frame:g}", re.sub(r"@-?[\d.]+(?=(?: \(\d+\))?(?: \+ |$))", "", name), given=True)


def _frame_tile(pixels: np.ndarray, index: int, masks: Mapping[float, Tensor], size: tuple[int, int]) -> Tile:
    """A frame of the video, with the outline of what was given at it or nearest to it."""
    near = [frame for frame in masks if nearest_frame(frame) == index]
    picture = picture_of(pixels, size)
    for frame in near:
        picture = _outlined(picture, masks[frame])
    given = "given" if all((masks[frame] == 1).all() for frame in near) else "part given"
    note = given if index in near else f"{given} at {near[0]:g}" if near else ""
    return Tile(picture, str(index), note, given=bool(near))


def _plane(mask: Tensor, size: tuple[int, int]) -> Image.Image:
    return Image.fromarray((mask[0] * 255).round().byte().numpy()).resize(size, Image.Resampling.NEAREST)


def _outlined(picture: Image.Image, mask: Tensor) -> Image.Image:
    """The picture with a line just inside the border of what is given at all."""
    plane = _plane((mask > 0).float(), picture.size)
    inside = ImageOps.expand(plane, border=3, fill=0).filter(ImageFilter.MinFilter(5))
    inside = ImageOps.crop(inside, border=3)
    line = Image.fromarray(np.asarray(plane) & ~np.asarray(inside))
    return Image.composite(Image.new("RGB", picture.size, ACCENT), picture, line)
