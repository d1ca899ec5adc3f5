"""What is said of the clips that were left out, and which options would have let more of them in."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench_sets.choice import Search
from bench_sets.looks import Look
from bench_sets.settings import SHORTEST, STRIDE, BuildSettings
from vgen.errors import InputError


def nothing_chosen(search: Search, settings: BuildSettings) -> InputError:
    """The error where no clip passes: why, and the nearest options that would give some."""
    why = ", ".join(reasons(search, settings))
    near = nearest(search, settings)
    videos = f"{search.videos} video{'s' * (search.videos != 1)}"
    return InputError(f"none of {videos} gives a clip: {why}" + (f"; nearest: {near}" if near else ""))


def reasons(search: Search, settings: BuildSettings) -> list[str]:
    """Each reason with its count and its rule, as "4 clips are still (flow under 5)"."""
    clip = f"{settings.frames} frames at {settings.fps:g} fps"
    needed = max(settings.min_seconds, (settings.frames - 1) / settings.fps)
    of_videos = {
        "short": f"shorter than {needed:.3g} s ({clip})"
        if not settings.min_seconds
        else f"shorter than {needed:.3g} s",
        "slow": f"of fewer than {settings.fps:g} fps",
        "unreadable": "unreadable",
    }
    of_clips = {
        "blurred": f"blurred (sharpness under {settings.min_sharpness:g})",
        "still": f"still (flow under {settings.min_flow:g} pixels a frame)",
        "cut": "cut by a change of scene",
        "unreadable": "unreadable",
    }
    videos = [_counted(count, "video", of_videos[why]) for why, count in sorted(search.left_videos.items())]
    return videos + [_counted(count, "clip", of_clips[why]) for why, count in sorted(search.left_clips.items())]


def nearest(search: Search, settings: BuildSettings) -> str:
    """Options that would let in one clip more, and all that were looked at; "" where none would."""
    passing = [seen for seen in search.looks if not seen.cut]
    more = [seen for seen in passing if seen.sharpness < settings.min_sharpness or seen.flow < settings.min_flow]
    if more:
        one = min(more, key=lambda seen: _distance(seen, settings))
        first, every = _thresholds([one], settings), _thresholds(more, settings)
        return first if first == every else f"{first}; all {len(passing)} that were looked at: {every}"
    if search.left_videos["short"]:
        longest = 1 + (search.longest - 1) // STRIDE * STRIDE
        if longest >= settings.frames:
            return "--min-seconds 0"
        if longest >= SHORTEST:
            return f"--frames {longest}, as the longest has"
        return f"videos of {SHORTEST / settings.fps:.2g} s, with --frames {SHORTEST}" if not search.looks else ""
    return f"--fps {math.floor(search.fastest)}" if search.left_videos["slow"] and search.fastest >= 1 else ""


def spans(search: Search) -> str:
    """Between which values all that was looked at lies."""
    sharpness, flow = ([getattr(seen, name) for seen in search.looks] for name in ("sharpness", "flow"))
    return f"sharpness {min(sharpness):.3g} to {max(sharpness):.3g}, flow {min(flow):.3g} to {max(flow):.3g}"


def _counted(count: int, name: str, why: str) -> str:
    return f"{count} {name}{'s are' if count != 1 else ' is'} {why}"


def _distance(seen: Look, settings: BuildSettings) -> float:
    """By how much thresholds must fall for a clip, as a ratio."""
    asked = (settings.min_sharpness, seen.sharpness), (settings.min_flow, seen.flow)
    return max(least / max(found, 1e-9) for least, found in asked)


def _thresholds(several: Sequence[Look], settings: BuildSettings) -> str:
    """The options that let several clips in: no more of them than must be, rounded down to two digits."""
    sharpness, flow = (min(getattr(seen, name) for seen in several) for name in ("sharpness", "flow"))
    options = [f"--min-sharpness {_down(sharpness)}"] if sharpness < settings.min_sharpness else []
    options += [f"--min-flow {_down(flow)}"] if flow < settings.min_flow else []
    return " ".join(options)


def _down(value: float) -> str:
    if value <= 0:
        return "0"
    digits = 1 - math.floor(math.log10(value))
    return f"{math.floor(value * 10.0**digits) / 10.0**digits:g}"
