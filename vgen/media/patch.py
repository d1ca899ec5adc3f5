"""A patch: an image or a clip, where it lies on a video, and its pixel frame; in Python, or in text as `cat.png@0`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, path
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from vgen import checks
from vgen.errors import InputError, unknown_key

Mode = Literal["frames", "clip"]
Fit = Literal["cover", "contain", "stretch"]
Keep = Literal["exact", "model"]
Media = str | PathLike[str] | np.ndarray | Image.Image

PATCH_OPTIONS = ("box", "mask", "as", "range", "fit", "keep", "strength")  # behind SOURCE@FRAME
LEAST_STRENGTH = 0.01  # that messages name where none is given
RANGE = re.compile(r"(\d{1,9})-(\d{1,9})")
PATCH_KEYS = ("source", "frame", *PATCH_OPTIONS)


@dataclass(frozen=True)
class Patch:
    """An image or a clip, where it lies on the canvas, and its pixel frame.

    Attributes:
        source: A path, a `PIL.Image`, or uint8 pixels `[H, W, 3 | 4]` (an image) or `[T, H, W, 3 | 4]` (a clip), an
            array or a tensor. A fourth channel is alpha: a pixel is given by so much.
        frame: The pixel frame of the image, or of the clip's first frame. May be fractional (10.5 lies half-way
            between two frames); negative counts from the end of the canvas, -1 is its last frame.
        box: (x0, y0, x1, y1) relative to the canvas, each in 0..1; None is the whole canvas.
        mask: A path, a `PIL.Image` or uint8 `[H, W]`, grey: white is given. Of the source's own size it is placed as
            that is; of any other it is stretched to the whole canvas, see `vgen.media.masks`. A clip, uint8
            `[T, H, W, 3]`, masks a clip of as many frames. Box, mask and alpha multiply; what is grey is given in part,
            see `vgen.media.placing`.
        mode: "frames": each frame is a condition of its own. "clip" (`as: clip` in YAML): the clip is encoded as a
            clip of 1 + 4k frames, a quarter of the tokens.
        range: First and last frame taken from a clip, both included; None is all of it.
        fit: How pixels meet the box: "cover" fills it and crops, "contain" shows all and leaves the rest of the box
            free, "stretch" changes the aspect.
        keep: "exact" puts the pixels back into the video, see `vgen.canvas.keep`; "model" leaves what the model makes
            of them. None is as the canvas says.
        strength: In (0, 1]: how firmly the model is held to it. 1 gives it clean; below, it is noised to diffusion time
            1 - strength, which the model is told, so that it may depart from it.

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
    keep: Keep | None = None
    strength: float = 1.0

    def __post_init__(self) -> None:
        for name in ("source", "mask"):
            object.__setattr__(self, name, _as_array(name, getattr(self, name)))
        checks.media("source", self.source)
        if self.mask is not None:
            checks.media("mask", self.mask, grey=True)
        _check_one_frame(self.frame)
        object.__setattr__(self, "frame", checks.real("frame", self.frame))
        if self.box is not None:
            object.__setattr__(self, "box", checks.box(self.box))
        if self.range is not None:
            object.__setattr__(self, "range", checks.frame_range(self.range))
        checks.choice("as", self.mode, get_args(Mode))
        checks.choice("fit", self.fit, get_args(Fit))
        if self.keep is not None:
            checks.choice("keep", self.keep, get_args(Keep))
        object.__setattr__(self, "strength", _strength(self.strength))
        check_kept(self, self.keep)

    @property
    def name(self) -> str:
        """The patch in a message, as `cat.png@0`; among others see `patch_names`."""
        if isinstance(self.source, str | PathLike):
            source = Path(self.source).name
        else:
            source = "clip" if isinstance(self.source, np.ndarray) and self.source.ndim == 4 else "image"
        return f"{source}@{self.frame:g}"

    @property
    def files(self) -> list[str | PathLike[str]]:
        """The files that it stands on."""
        return [file for file in (self.source, self.mask) if isinstance(file, str | PathLike)]

    @classmethod
    def from_dict(
        cls, data: Mapping[str, Any], base: str | PathLike[str] = "", size: tuple[int, int] | None = None
    ) -> Patch:
        """A patch from the fields of YAML, in which `mode` is called `as`; relative paths start at `base`.
        Options may be written as on the command line, too (`box: 0.1,0.2,0.6,0.8`).

        Args:
            data: the fields.
            base: a folder.
            size: (height, width) of the canvas in pixels, for the message of a box in pixels.

        Raises:
            InputError: a key is unknown, the source is missing, or a value breaks its rule.
        """
        if isinstance(data, Mapping) and (unknown := [key for key in data if key not in PATCH_KEYS]):
            known = ", ".join(PATCH_KEYS)
            raise InputError(f"{unknown_key(checks.show(unknown[0]), PATCH_KEYS, 'a patch')}; its keys are {known}")
        given = checks.known_keys(data, PATCH_KEYS, "a patch")
        if "source" not in given:
            raise InputError("a patch has no source; name the image or clip, such as source: cat.png")
        for key in ("source", "mask"):
            if key in given:
                given[key] = _joined(given[key], base)
        for key, parse in PARSERS.items():
            if isinstance(given.get(key), str):
                given[key] = parse(given[key])
        if "as" in given:
            given["mode"] = given.pop("as")
        if size is not None and "box" in given:
            checks.box_in_shares(given["box"], size)
        return cls(**given)

    def to_dict(self, relative_to: str | PathLike[str] | None = None) -> dict[str, Any]:
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
        if self.keep is not None:
            given["keep"] = self.keep
        if self.strength != 1:
            given["strength"] = self.strength
        return given


def _as_array(name: str, value: Any) -> Any:
    """A tensor as the array that it is; anything else as it is. Torch is not asked for: this module loads at once."""
    if not hasattr(value, "detach"):
        return value
    try:
        return value.detach().cpu().numpy()
    except (TypeError, RuntimeError) as error:
        raise InputError(f"{name} is a tensor of {value.dtype}; it must be uint8, 0 to 255") from error


def _check_one_frame(frame: object) -> None:
    """Refuses a range of frames where the one belongs at which a patch begins."""
    if isinstance(frame, list | tuple):
        frame = "-".join(map(str, frame))
    ends = RANGE.fullmatch(frame) if isinstance(frame, str) else None
    if ends is not None:
        first, last = ends.groups()
        how = f"range={first}-{last} takes frames of a clip, and a still gets a patch for each frame"
        raise InputError(f"frame={first}-{last} must be one number, where the patch begins; nearest: {first} ({how})")


def _strength(value: object) -> float:
    strength = checks.real("strength", value)
    if not 0 < strength <= 1:
        near = "1" if strength > 1 else f"{LEAST_STRENGTH:g}, or leave the patch out"
        raise InputError(f"strength={strength:g} must lie above 0 and up to 1; nearest: {near}")
    return strength


def check_kept(patch: Patch, keep: Keep | None) -> None:
    """Refuses to put back exactly what the model may depart from.

    Raises:
        InputError: `keep` is "exact", and the patch's strength below 1.
    """
    if keep == "exact" and patch.strength < 1:
        given = f"strength={patch.strength:g} of {checks.show(patch.name)}"
        raise InputError(
            f"{given} lets the model depart from it, and keep=exact puts it back; use strength=1 or keep=model"
        )


def position_of(patch: Patch, frames: int) -> float:
    """The pixel frame of a patch on a canvas, 0..frames-1, with a negative one counted from the end.

    Raises:
        InputError: the patch lies outside the canvas.
    """
    last = frames - 1
    frame = patch.frame + frames if patch.frame < 0 else patch.frame
    if not 0 <= frame <= last:
        near = -frames if patch.frame < -frames else last
        raise InputError(
            f"frame={patch.frame:g} of {checks.show(patch.name)} lies outside a canvas of {frames} frames, "
            f"0 to {last} (or -{frames} to -1 from the end); nearest: {near}"
        )
    return frame


def patch_names(patches: Sequence[Patch]) -> list[str]:
    """The patches in messages and labels, each by another name: `cat.png@0`, with as much of its folder as tells it
    from others of that name (`old/cat.png@0`), and numbered where that is not enough (`cat.png@0 (1)`)."""
    alike: dict[str, list[Patch]] = {}
    for patch in patches:
        alike.setdefault(patch.name, []).append(patch)
    names = [_name_among(patch, alike[patch.name]) for patch in patches]
    often, seen = Counter(names), Counter[str]()
    for place, name in enumerate(names):
        seen[name] += 1
        if often[name] > 1:
            names[place] = f"{name} ({seen[name]})"
    return names


def _name_among(patch: Patch, alike: Sequence[Patch]) -> str:
    """The name of a patch among those of its name, with the end of its path by which their files differ."""
    files = {Path(each.source).parts for each in alike if isinstance(each.source, str | PathLike)}
    if len(files) < 2 or not isinstance(patch.source, str | PathLike):
        return patch.name
    longest = max(map(len, files))
    parts = next(n for n in range(1, longest + 1) if len({file[-n:] for file in files}) == len(files))
    return f"{Path(*Path(patch.source).parts[-parts:])}@{patch.frame:g}"


def parse_patch(text: str, base: str | PathLike[str] = "", size: tuple[int, int] | None = None) -> Patch:
    """Reads `SOURCE@FRAME[:option=value...]`, such as `dog.png@41:box=0.1,0.2,0.6,0.8` or `clip.mp4@60:mask=m.png`.

    The options are those of `Patch`: `box`, `mask`, `as`, `range`, `fit`, `keep` and `strength`. The source may hold
    '@' and ':', since the frame follows the last '@' that a number follows. `size` is (height, width) of the canvas,
    where it is known.

    Raises:
        InputError: the text does not have this form, or a value breaks its rule.
    """
    if path.isfile(path.join(base, text)):
        raise InputError(f"patch {checks.show(text)} names no frame; write {checks.show(text)}@0")
    source, frame, *options = _split_patch(text)
    given: dict[str, Any] = {"source": source}
    try:
        given["frame"] = float(frame)
    except ValueError:
        _check_one_frame(frame)
        raise InputError(f"frame={checks.show(frame)} of patch {checks.show(text)} is not a number") from None
    for option in options:
        key, value = option.split("=", 1)
        if key not in PATCH_OPTIONS:
            known = ", ".join(PATCH_OPTIONS)
            raise InputError(f"{checks.show(key)} of patch {checks.show(text)} is no option; known: {known}")
        if key in given:
            raise InputError(f"patch {checks.show(text)} gives {key} twice; keep one")
        given[key] = value
    return Patch.from_dict(given, base, size)


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


def _parse_strength(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"strength={checks.show(text)} must be a number above 0 and up to 1, such as 0.7") from None


def _parse_range(text: str) -> tuple[int, int]:
    ends = RANGE.fullmatch(text)
    if ends is None:
        raise InputError(f"range={checks.show(text)} must be FIRST-LAST, two frames of the clip, such as 10-40")
    return int(ends[1]), int(ends[2])


# Of options whose value is no text, how it is read where it is written as one, on the command line or in YAML
PARSERS: dict[str, Callable[[str], Any]] = {"box": _parse_box, "range": _parse_range, "strength": _parse_strength}


def _joined(value: object, base: str | PathLike[str]) -> object:
    return path.join(base, value) if isinstance(value, str | PathLike) and str(value) else value


def _written(key: str, value: Media, relative_to: str | PathLike[str] | None) -> str:
    if not isinstance(value, str | PathLike):
        raise InputError(f"the {key} of a patch is in memory, {checks.show(value)}; save it to a file and name that")
    return str(value) if relative_to is None else Path(path.relpath(value, relative_to)).as_posix()
