"""What a user writes: patches on a canvas, in Python, in YAML, or on the command line as `cat.png@0`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from os import PathLike
from pathlib import Path
from typing import Any, get_args

from vgen import checks
from vgen.errors import InputError
from vgen.media.patch import Keep, Patch, check_kept, parse_patch, position_of
from vgen.shipped import find
from vgen.strict_yaml import load_yaml

__all__ = ["MAX_SEED", "Canvas", "Patch", "parse_patch", "parse_size"]

# One pass holds what attention over all its tokens can hold; longer videos are made segment by segment (extend.py).
MAX_FRAMES = 1025
MAX_SIDE = 4096
MAX_SEED = 2**63 - 1


@dataclass(frozen=True)
class Canvas:
    """A video to complete: its size, what it shows, and the patches that are given.

    Attributes:
        frames: Pixel frames, 1 + 4k for a codec of temporal stride 4; see `vgen.canvas.placed.validate`.
        height: Pixels.
        width: Pixels.
        prompt: What the video shows; may be empty. None is what the model itself reads for pictures that come without
            one, see `vgen.canvas.prompt`, and empty otherwise.
        negative_prompt: What it should not show.
        fps: Frames per second of the file that is written; None is that of its clips where they agree, otherwise 15.
        seed: Of the noise.
        patches: Patches at the same frame are composited in this order, later over earlier, into one condition;
            patches at different frames are conditions of their own.
        keep: "model": given pixels are as the model makes them. "exact": they are put back, and the rest is matched to
            them in colour; see `vgen.canvas.keep`. A patch may say its own.

    Raises:
        InputError: a value breaks its rule, or a patch lies outside the canvas.
    """

    frames: int
    height: int
    width: int
    prompt: str | None = None
    negative_prompt: str = ""
    fps: float | None = None
    seed: int = 0
    patches: tuple[Patch, ...] = ()
    keep: Keep = "model"

    def __post_init__(self) -> None:
        checks.whole("frames", self.frames, 1, MAX_FRAMES)
        checks.whole("height", self.height, 1, MAX_SIDE)
        checks.whole("width", self.width, 1, MAX_SIDE)
        if self.prompt is not None:
            checks.text("prompt", self.prompt)
        checks.text("negative_prompt", self.negative_prompt)
        if self.fps is not None:
            object.__setattr__(self, "fps", checks.real("fps", self.fps, 0.1, 1000))
        checks.whole("seed", self.seed, 0, MAX_SEED)
        checks.choice("keep", self.keep, get_args(Keep))
        if not isinstance(self.patches, list | tuple) or not all(isinstance(p, Patch) for p in self.patches):
            raise InputError(f"patches={checks.show(self.patches)} must be a list of patches")
        object.__setattr__(self, "patches", tuple(self.patches))
        for patch in self.patches:
            self.position(patch)
            check_kept(patch, patch.keep or self.keep)

    @property
    def files(self) -> list[str | PathLike[str]]:
        """The files that its patches stand on."""
        return [file for patch in self.patches for file in patch.files]

    def position(self, patch: Patch) -> float:
        """The pixel frame of a patch, 0..frames-1, with a negative one counted from the end.

        Raises:
            InputError: the patch lies outside the canvas.
        """
        return position_of(patch, self.frames)

    def add(self, *patches: Patch) -> Canvas:
        """The same canvas with more patches, placed over those it has."""
        return replace(self, patches=(*self.patches, *patches))

    @classmethod
    def from_yaml(cls, file: str | PathLike[str], **overrides: Any) -> Canvas:
        """Reads a spec; its relative paths start at the folder of the YAML file.

        Args:
            file: The YAML file.
            overrides: Values that go before those of the file, under its keys (`size="384x672"`).

        Raises:
            InputError: the file cannot be read or is no mapping, a key is unknown or given twice, or a value breaks
                its rule.
        """
        file = find(file)
        data = load_yaml(file)
        return cls.from_dict(data | overrides if isinstance(data, dict) else data, base=Path(file).parent)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], base: str | PathLike[str] = "") -> Canvas:
        """A canvas from the fields of YAML: `size: 384x672` (HxW) and a list of patches; paths start at `base`.

        A key whose value is left empty takes its default. A patch may also be text, as `parse_patch` reads it.

        Raises:
            InputError: as `from_yaml`.
        """
        given = checks.known_keys(data, CANVAS_KEYS, "the canvas")
        for key, example in (("frames", "77"), ("size", "384x672")):
            if key not in given:
                raise InputError(f"the canvas has no {key}; give it, such as {key}: {example}")
        height, width = parse_size(given.pop("size"))
        patches = given.pop("patches", [])
        if not isinstance(patches, list | tuple):
            raise InputError(f"patches={checks.show(patches)} must be a list, each item a line that starts with '-'")
        patches = tuple(_read_patch(index, patch, base, (height, width)) for index, patch in enumerate(patches))
        return cls(height=height, width=width, patches=patches, **given)

    def to_dict(self, relative_to: str | PathLike[str] | None = None) -> dict[str, Any]:
        """The inverse of `from_dict`; paths relative to a folder if one is named.

        Raises:
            InputError: a patch has no path.
        """
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        size = {"size": f"{plain.pop('height')}x{plain.pop('width')}"}
        for name in ("prompt", "fps"):
            if plain[name] is None:
                plain.pop(name)
        patches = [patch.to_dict(relative_to) for patch in plain.pop("patches")]
        return {"frames": plain.pop("frames"), **size, **plain, "patches": patches}


CANVAS_KEYS = ("frames", "size", "prompt", "negative_prompt", "fps", "seed", "keep", "patches")


def parse_size(text: str) -> tuple[int, int]:
    """Reads `384x672` as (height, width).

    Raises:
        InputError: the text does not have this form.
    """
    size = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text) if isinstance(text, str) else None
    if size is None:
        raise InputError(f"size={checks.show(text)} must be written HEIGHTxWIDTH in pixels, such as 384x672")
    return int(size[1]), int(size[2])


def _read_patch(index: int, patch: Any, base: str | PathLike[str], size: tuple[int, int]) -> Patch:
    try:
        return parse_patch(patch, base, size) if isinstance(patch, str) else Patch.from_dict(patch, base, size)
    except InputError as error:
        raise InputError(f"patches[{index}]: {error}") from error
