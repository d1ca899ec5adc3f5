"""What a user writes: patches on a canvas, in Python, in YAML, or on the command line as `cat.png@0`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from os import PathLike, path
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from vgen import checks
from vgen.backbone.shapes import check_frames, check_size
from vgen.canvas.yaml_file import load_yaml
from vgen.errors import InputError, unknown_key

Mode = Literal["frames", "clip"]
Fit = Literal["cover", "contain", "stretch"]
Media = str | PathLike | np.ndarray | Image.Image

# One pass holds what attention over all its tokens can hold; longer videos are made segment by segment (extend.py).
MAX_FRAMES = 1025
MAX_SIDE = 4096
MAX_SEED = 2**63 - 1


@dataclass(frozen=True)
class Patch:
    """An image or a clip, where it lies on the canvas, and its pixel frame.

    Attributes:
        source: A path, a `PIL.Image`, or uint8 pixels `[H, W, 3 | 4]` (an image) or `[T, H, W, 3 | 4]` (a clip). A
            fourth channel is alpha: where it is under one half, nothing is given.
        frame: The pixel frame of the image, or of the clip's first frame. May be fractional (10.5 lies half-way
            between two frames); negative counts from the end of the canvas, -1 is its last frame.
        box: (x0, y0, x1, y1) relative to the canvas, each in 0..1; None is the whole canvas.
        mask: A path, a `PIL.Image` or uint8 `[H, W]`, grey, stretched to the whole canvas: white is given. A clip,
            uint8 `[T, H, W, 3]`, masks a clip of as many frames. Box, mask and alpha multiply.
        mode: "frames": each frame is a condition of its own. "clip" (`as: clip` in YAML): the clip is encoded as a
            clip of 1 + 4k frames, a quarter of the tokens.
        range: First and last frame taken from a clip, both included; None is all of it.
        fit: How pixels meet the box: "cover" fills it and crops, "contain" shows all and leaves the rest of the box
            free, "stretch" changes the aspect.

    Raises:
        InputError: a value breaks its rule.
    """

    source: Media
    frame: float = 0.0
    box: tuple[float, float, float, float] | None = None
    mask: Media | None = None
    mode: Mode = "frames"
    range: tuple[int, int] | None = None
    fit: Fit = "cover"

    def __post_init__(self) -> None:
        checks.media("source", self.source)
        if self.mask is not None:
            checks.media("mask", self.mask, grey=True)
        object.__setattr__(self, "frame", checks.real("frame", self.frame))
        if self.box is not None:
            object.__setattr__(self, "box", checks.box(self.box))
        if self.range is not None:
            object.__setattr__(self, "range", checks.frame_range(self.range))
        checks.choice("as", self.mode, get_args(Mode))
        checks.choice("fit", self.fit, get_args(Fit))

    @property
    def name(self) -> str:
        """The patch in a message or a label, as `cat.png@0`."""
        known = isinstance(self.source, str | PathLike)
        source = Path(self.source).name if known else "clip" if np.ndim(self.source) == 4 else "image"
        return f"{source}@{self.frame:g}"

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], base: str | PathLike = "") -> Patch:
        """A patch from the fields of YAML, in which `mode` is called `as`; relative paths start at `base`.

        Raises:
            InputError: a key is unknown, the source is missing, or a value breaks its rule.
        """
        given = _known_keys(data, PATCH_KEYS, "a patch")
        if "source" not in given:
            raise InputError("a patch has no source; name the image or clip, such as source: cat.png")
        for key in ("source", "mask"):
            if key in given:
                given[key] = _joined(given[key], base)
        if isinstance(given.get("range"), str):
            given["range"] = _parse_range(given["range"])
        if "as" in given:
            given["mode"] = given.pop("as")
        return cls(**given)

    def to_dict(self, relative_to: str | PathLike | None = None) -> dict[str, Any]:
        """The inverse of `from_dict`, without defaults; paths relative to a folder if one is named.

        Raises:
            InputError: the source or the mask has no path.
        """
        given = {"source": _written("source", self.source, relative_to), "frame": self.frame}
        if self.box is not None:
            given["box"] = list(self.box)
        if self.mask is not None:
            given["mask"] = _written("mask", self.mask, relative_to)
        if self.mode != "frames":
            given["as"] = self.mode
        if self.range is not None:
            given["range"] = "{}-{}".format(*self.range)
        if self.fit != "cover":
            given["fit"] = self.fit
        return given


@dataclass(frozen=True)
class Canvas:
    """A video to complete: its size, what it shows, and the patches that are given.

    Attributes:
        frames: Pixel frames, 1 + 4k for a codec of temporal stride 4; see `validate`.
        height: Pixels.
        width: Pixels.
        prompt: What the video shows; may be empty.
        negative_prompt: What it should not show.
        fps: Frames per second of the file that is written.
        seed: Of the noise.
        patches: Patches at the same frame are composited in this order, later over earlier, into one condition;
            patches at different frames are conditions of their own.

    Raises:
        InputError: a value breaks its rule, or a patch lies outside the canvas.
    """

    frames: int
    height: int
    width: int
    prompt: str = ""
    negative_prompt: str = ""
    fps: float = 15.0
    seed: int = 0
    patches: tuple[Patch, ...] = ()

    def __post_init__(self) -> None:
        checks.whole("frames", self.frames, 1, MAX_FRAMES)
        checks.whole("height", self.height, 1, MAX_SIDE)
        checks.whole("width", self.width, 1, MAX_SIDE)
        checks.text("prompt", self.prompt)
        checks.text("negative_prompt", self.negative_prompt)
        object.__setattr__(self, "fps", checks.real("fps", self.fps, 0.1, 1000))
        checks.whole("seed", self.seed, 0, MAX_SEED)
        if not isinstance(self.patches, list | tuple) or not all(isinstance(p, Patch) for p in self.patches):
            raise InputError(f"patches={checks.show(self.patches)} must be a list of patches")
        object.__setattr__(self, "patches", tuple(self.patches))
        for patch in self.patches:
            self.position(patch)

    def position(self, patch: Patch) -> float:
        """The pixel frame of a patch, 0..frames-1, with a negative one counted from the end.

        Raises:
            InputError: the patch lies outside the canvas.
        """
        last = self.frames - 1
        frame = patch.frame + self.frames if patch.frame < 0 else patch.frame
        if not 0 <= frame <= last:
            near = -self.frames if patch.frame < -self.frames else last
            raise InputError(
                f"frame={patch.frame:g} of {checks.show(patch.name)} lies outside a canvas of {self.frames} frames, "
                f"0 to {last} (or -{self.frames} to -1 from the end); nearest: {near}"
            )
        return frame

    def add(self, *patches: Patch) -> Canvas:
        """The same canvas with more patches, placed over those it has."""
        return replace(self, patches=(*self.patches, *patches))

    @classmethod
    def from_yaml(cls, file: str | PathLike, **overrides: Any) -> Canvas:
        """Reads a spec; its relative paths start at the folder of the YAML file.

        Args:
            file: The YAML file.
            overrides: Values that go before those of the file, under its keys (`size="384x672"`).

        Raises:
            InputError: the file cannot be read or is no mapping, a key is unknown or given twice, or a value breaks
                its rule.
        """
        data = load_yaml(file)
        return cls.from_dict(data | overrides if isinstance(data, dict) else data, base=Path(file).parent)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], base: str | PathLike = "") -> Canvas:
        """A canvas from the fields of YAML: `size: 384x672` (HxW) and a list of patches; paths start at `base`.

        A key whose value is left empty takes its default. A patch may also be text, as `parse_patch` reads it.

        Raises:
            InputError: as `from_yaml`.
        """
        given = _known_keys(data, CANVAS_KEYS, "the canvas")
        for key, example in (("frames", "77"), ("size", "384x672")):
            if key not in given:
                raise InputError(f"the canvas has no {key}; give it, such as {key}: {example}")
        height, width = parse_size(given.pop("size"))
        patches = given.pop("patches", [])
        if not isinstance(patches, list | tuple):
            raise InputError(f"patches={checks.show(patches)} must be a list, each item a line that starts with '-'")
        patches = tuple(_read_patch(index, patch, base) for index, patch in enumerate(patches))
        return cls(height=height, width=width, patches=patches, **given)

    def to_dict(self, relative_to: str | PathLike | None = None) -> dict[str, Any]:
        """The inverse of `from_dict`; paths relative to a folder if one is named.

        Raises:
            InputError: a patch has no path.
        """
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        size = {"size": f"{plain.pop('height')}x{plain.pop('width')}"}
        patches = [patch.to_dict(relative_to) for patch in plain.pop("patches")]
        return {"frames": plain.pop("frames"), **size, **plain, "patches": patches}


PATCH_KEYS = ("source", "frame", "box", "mask", "as", "range", "fit")
CANVAS_KEYS = ("frames", "size", "prompt", "negative_prompt", "fps", "seed", "patches")


def validate(canvas: Canvas, temporal_stride: int = 4, size_multiple: int = 32) -> None:
    """Refuses a canvas that a model cannot hold.

    Args:
        canvas: What the user asks for.
        temporal_stride: N of the codec: 1 + N·k pixel frames are legal.
        size_multiple: Spatial stride of the codec times the patch of the transformer.

    Raises:
        InputError: it names the nearest legal frame count or size.
    """
    check_frames(canvas.frames, temporal_stride)
    check_size(canvas.height, canvas.width, size_multiple)


def parse_patch(text: str, base: str | PathLike = "") -> Patch:
    """Reads `SOURCE@FRAME[:option=value...]`, such as `dog.png@41:box=0.1,0.2,0.6,0.8` or `clip.mp4@60:mask=m.png`.

    The options are `box`, `mask`, `as`, `range` and `fit`, as in `Patch`. The source may hold '@' and ':', since the
    frame follows the last '@' that a number follows.

    Raises:
        InputError: the text does not have this form, or a value breaks its rule.
    """
    source, frame, *options = _split_patch(text)
    given: dict[str, Any] = {"source": source}
    try:
        given["frame"] = float(frame)
    except ValueError:
        raise InputError(f"frame={checks.show(frame)} of patch {checks.show(text)} is not a number") from None
    for option in options:
        key, value = option.split("=", 1)
        if key in given:
            raise InputError(f"patch {checks.show(text)} gives {key} twice; keep one")
        given[key] = _parse_box(value) if key == "box" else value
    return Patch.from_dict(given, base)


def parse_size(text: str) -> tuple[int, int]:
    """Reads `384x672` as (height, width).

    Raises:
        InputError: the text does not have this form.
    """
    size = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text) if isinstance(text, str) else None
    if size is None:
        raise InputError(f"size={checks.show(text)} must be written HEIGHTxWIDTH in pixels, such as 384x672")
    return int(size[1]), int(size[2])


def _split_patch(text: str) -> list[str]:
    """The source, the frame and the options of a patch, each as text."""
    option = re.compile(r":(?=\w+=)")
    splits = [[text[: at.start()], *option.split(text[at.end() :])] for at in re.finditer("@", text) if at.start()]
    if not splits:
        raise InputError(f"patch {checks.show(text)} must be SOURCE@FRAME[:option=value...], such as cat.png@0")
    return ([split for split in splits if _is_number(split[1])] or splits)[-1]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parse_box(text: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        raise InputError(f"box={checks.show(text)} must be four numbers, such as 0.1,0.2,0.6,0.8") from None


def _parse_range(text: str) -> tuple[int, int]:
    ends = re.fullmatch(r"(\d{1,9})-(\d{1,9})", text)
    if ends is None:
        raise InputError(f"range={checks.show(text)} must be FIRST-LAST, two frames of the clip, such as 10-40")
    return int(ends[1]), int(ends[2])


def _read_patch(index: int, patch: object, base: str | PathLike) -> Patch:
    try:
        return parse_patch(patch, base) if isinstance(patch, str) else Patch.from_dict(patch, base)
    except InputError as error:
        raise InputError(f"patches[{index}]: {error}") from error


def _known_keys(data: Mapping[str, Any], known: tuple[str, ...], where: str) -> dict[str, Any]:
    """The keys that have a value, after all of them were checked."""
    if not isinstance(data, Mapping):
        raise InputError(f"{where} must be a mapping with the keys {', '.join(known)}, not {checks.show(data)}")
    for key in data:
        if key not in known:
            raise unknown_key(checks.show(key), known, where)
    return {key: value for key, value in data.items() if value is not None}


def _joined(value: object, base: str | PathLike) -> object:
    return path.join(base, value) if isinstance(value, str | PathLike) and str(value) else value


def _written(key: str, value: Media, relative_to: str | PathLike | None) -> str:
    if not isinstance(value, str | PathLike):
        raise InputError(f"the {key} of a patch is in memory, {checks.show(value)}; save it to a file and name that")
    return str(value) if relative_to is None else Path(path.relpath(value, relative_to)).as_posix()
