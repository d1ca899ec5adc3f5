"""Checks of the values that a user types: each returns the value in its own type or raises one line."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, fields, is_dataclass
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from reprlib import Repr
from typing import Any, TypeGuard, TypeVar

import numpy as np
from PIL import Image

from vgen.errors import InputError, unknown_key

Value = TypeVar("Value")
MOST = 10**9  # of a number that has no other upper end
_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 120
_SHORT.maxlist = _SHORT.maxtuple = 6


def show(value: object) -> str:
    """A value as it goes into a message: one line, cut short, text without quotes where that reads well."""
    plain = isinstance(value, str | Path) and str(value).strip() and str(value).isprintable() and len(str(value)) <= 120
    return str(value) if plain else _SHORT.repr(str(value) if isinstance(value, Path) else value)


def whole(name: str, value: object, low: int, high: int) -> int:
    """A whole number in [low, high]. Booleans, text and 3.0 are not whole numbers."""
    if not _is_whole(value):
        near = f"; nearest: {_clip(round(value), low, high)}" if _is_real(value) else ""
        raise InputError(f"{name}={show(value)} must be a whole number from {low} to {high}{near}")
    if not low <= value <= high:
        raise InputError(f"{name}={show(value)} must lie in {low} to {high}; nearest: {_clip(value, low, high)}")
    return int(value)


def real(name: str, value: object, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number in [low, high]."""
    bounds = "" if math.isinf(low) and math.isinf(high) else f" in {low:g} to {high:g}"
    if not _is_real(value):
        shown = repr(value) if isinstance(value, str) and len(value) < 40 else show(value)
        raise InputError(f"{name}={shown} must be a finite number{bounds}")
    if not low <= value <= high:
        raise InputError(f"{name}={value:g} must lie in {low:g} to {high:g}; nearest: {_clip(value, low, high):g}")
    return float(value)


def within(default: Value, low: float, high: float = MOST) -> Value:
    """A field of a dataclass whose number, or each of whose numbers, lies in [low, high], as `ranges` checks."""
    made: Value = field(default=default, metadata={"range": (low, high)})  # as a dataclass takes it
    return made


def ranges(config: Any, where: str = "") -> None:
    """Holds the fields of a dataclass, and of those in it, against what `within` says of them; None is no number.

    Args:
        where: the dotted key of the dataclass, "" for none.

    Raises:
        InputError: a number lies outside; it names the key and the nearest number.
    """
    for each in fields(config):
        name, value = f"{where}.{each.name}".lstrip("."), getattr(config, each.name)
        listed = isinstance(value, list | tuple)
        for key, part in [(f"{name}.{i}", part) for i, part in enumerate(value)] if listed else [(name, value)]:
            if is_dataclass(part):
                ranges(part, key)
            elif part is not None and "range" in each.metadata:
                check = whole if isinstance(part, int) else real
                check(key, part, *each.metadata["range"])


def numbers(name: str, value: object, count: int) -> list[float]:
    """So many finite numbers."""
    if not isinstance(value, list | tuple) or len(value) != count or not all(map(_is_real, value)):
        raise InputError(f"{name}={show(value)} must be {count} finite numbers")
    return [float(number) for number in value]


def text(name: str, value: object, utf8: bool = True) -> str:
    """A string, and one of UTF-8, which the name of a file need not be."""
    if not isinstance(value, str):
        raise InputError(f"{name}={show(value)} must be text; put it in quotes")
    try:
        value.encode(errors="strict" if utf8 else "surrogateescape")
    except UnicodeEncodeError as error:
        raise InputError(f"{name}={show(ascii(value))} must be text in UTF-8") from error
    return value


def choice(name: str, value: object, choices: Iterable[str]) -> str:
    """One of a few words."""
    choices = list(choices)
    if isinstance(value, str) and value in choices:
        return value
    near = difflib.get_close_matches(str(value), choices, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise InputError(f"{name}={show(value)} must be one of {', '.join(choices)}{hint}")


def box(value: object, reach: float = 0.0) -> tuple[float, float, float, float]:
    """(x0, y0, x1, y1) with x0 < x1 and y0 < y1, relative to the canvas; it may reach that far beyond 0..1."""
    low, high = 0.0 - reach, 1.0 + reach
    if not isinstance(value, Sequence) or len(value) != 4 or not all(_is_real(number) for number in value):
        raise InputError(f"box={show(value)} must be four numbers x0,y0,x1,y1, such as 0.1,0.2,0.6,0.8")
    x0, y0, x1, y1 = (float(number) for number in value)
    if low <= x0 < x1 <= high and low <= y0 < y1 <= high:
        return x0, y0, x1, y1
    (left, right), (top, bottom) = (sorted(_clip(end, low, high) for end in ends) for ends in ((x0, x1), (y0, y1)))
    near = f"; nearest: {left:g},{top:g},{right:g},{bottom:g}" if left < right and top < bottom else ""
    given = ",".join(f"{number:g}" for number in (x0, y0, x1, y1))
    rule = f"must have {low:g} <= x0 < x1 <= {high:g}, and the same for y0 and y1"
    if min(x0, y0, x1, y1) >= 0 and max(x0, y0, x1, y1) >= 2:
        rule += ", as shares of the canvas and not in pixels"
    raise InputError(f"box={given} {rule}{near}")


def box_in_shares(value: object, size: tuple[int, int]) -> None:
    """Refuses a box that is plainly in pixels of a canvas of (height, width), with the shares that it would be."""
    if not isinstance(value, Sequence) or len(value) != 4 or not all(_is_real(number) for number in value):
        return
    if min(value) < 0 or max(value) < 2:
        return
    (x0, x1), (y0, y1) = (sorted((value[at], value[at + 2])) for at in (0, 1))
    shares = [_clip(end / side, 0, 1) for end, side in zip((x0, y0, x1, y1), (size[1], size[0]) * 2, strict=True)]
    given, near = (",".join(f"{number:.4g}" for number in numbers) for numbers in (value, shares))
    rule = f"looks like pixels; a box is in shares of the canvas, 0 to 1; of {size[0]}x{size[1]} pixels"
    nearest = f"nearest: {near}" if shares[0] < shares[2] and shares[1] < shares[3] else "it lies outside"
    raise InputError(f"box={given} {rule}, {nearest}")


def frame_range(value: object) -> tuple[int, int]:
    """The first and the last frame, both included."""
    if not isinstance(value, Sequence) or len(value) != 2:
        raise InputError(f"range={show(value)} must be FIRST-LAST, two frames of the clip, such as 10-40")
    first, last = (whole("range", end, 0, 10**9) for end in value)
    if first > last:
        raise InputError(f"range={first}-{last} must not end before it begins; nearest: {last}-{first}")
    return first, last


def known_keys(data: object, known: tuple[str, ...], where: str) -> dict[str, Any]:
    """The keys that have a value, after all of them were checked."""
    if not isinstance(data, Mapping):
        raise InputError(f"{where} must be a mapping with the keys {', '.join(known)}, not {show(data)}")
    for key in data:
        if key not in known:
            raise unknown_key(show(key), known, where)
    return {key: value for key, value in data.items() if value is not None}


def media(name: str, value: object, grey: bool = False) -> None:
    """A path, a `PIL.Image`, or uint8 pixels `[H, W, 3 | 4]` or `[T, H, W, 3 | 4]`; grey ones may be `[H, W]`."""
    if isinstance(value, str | PathLike):
        if not str(value).strip() or "\0" in str(value):
            raise InputError(f"{name}={show(value)} must be the path of an image or a clip")
    elif isinstance(value, np.ndarray):
        shaped = (value.ndim in (3, 4) and value.shape[-1] in (3, 4)) or (grey and value.ndim == 2)
        if value.dtype != np.uint8 or not shaped or not value.size:
            flat = "[H, W], " if grey else ""
            raise InputError(
                f"{name} is an array {value.dtype} {list(value.shape)}; it must be uint8, 0 to 255, of shape "
                f"{flat}[H, W, 3 or 4] or [T, H, W, 3 or 4]"
            )
    elif not isinstance(value, Image.Image):
        raise InputError(f"{name}={show(value)} must be the path of an image or a clip, an image or uint8 pixels")


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_real(value: object) -> TypeGuard[float]:
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond the range of floats
        return False


def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
