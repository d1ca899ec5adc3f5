"""The cases of a bench: which canvases are made of its clips, patches and masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from bench_sets.patches import CutOut
from bench_sets.scenes import Scene, draw_unrelated
from bench_sets.settings import BuildSettings

Patch = dict[str, Any]


@dataclass(frozen=True)
class BenchClip:
    """A clip of the bench with what was made of it.

    Attributes:
        number: In the bench.
        file: The clip itself.
        scene: Of which recording it is, and what it shows.
        patches: By the name of their anchor frame.
        masks: Files, by the kind of their case.
    """

    number: int
    file: str
    scene: Scene
    patches: Mapping[str, CutOut]
    masks: Mapping[str, str]


def make_cases(clips: Sequence[BenchClip], settings: BuildSettings) -> list[dict[str, Any]]:
    """All cases, as a manifest has them.

    AnyP2V and AnyI2V: each way to give one, two or three of the anchor frames of a clip, of which there are seven; each
    way to give two, of each pair of unrelated images, and all three of each triplet. AnyV2V: the inpainting and the
    outpainting of each clip, and the transition of each pair of clips. With 100 clips, 50 pairs, 50 triplets and 30
    pairs of clips these are 900, 900 and 230.
    """
    scenes, counts = [clip.scene for clip in clips], settings.of_clips(len(clips))
    groups = [
        [clips[number] for number in group]
        for size, name in ((2, "pairs"), (3, "triplets"))
        for group in draw_unrelated(scenes, size, counts[name], (settings.seed, size))
    ]
    joined = draw_unrelated(scenes, 2, counts["clip_pairs"], (settings.seed, 4))
    cases = [
        *_of_images("AnyP2V", clips, groups, settings),
        *_of_images("AnyI2V", clips, groups, settings),
        *(_region(clip, kind, settings) for kind in ("inpainting", "outpainting") for clip in clips),
        *(_transition(clips[one], clips[other], settings) for one, other in joined),
    ]
    for seed, case in enumerate(cases):
        case["canvas"]["seed"] = seed
    return cases


def _of_images(
    group: str, clips: Sequence[BenchClip], unrelated: Sequence[Sequence[BenchClip]], settings: BuildSettings
) -> Iterator[dict[str, Any]]:
    anchors = settings.anchors
    for clip in clips:
        for names in _ways(anchors, range(1, len(anchors) + 1)):
            patches = [_given(group, clip, name, anchors[name], settings) for name in names]
            yield _case(group, f"{clip.number:04d}", names, patches, clip.scene.caption, clip.file, settings)
    for several in unrelated:
        numbers = "+".join(f"{clip.number:04d}" for clip in several)
        prompt = _joined([clip.scene.caption for clip in several])
        for names in _ways(anchors, [len(several)]):
            placed = zip(several, names, strict=True)
            patches = [_given(group, clip, "middle", anchors[name], settings) for clip, name in placed]
            yield _case(group, numbers, names, patches, prompt, None, settings)


def _ways(anchors: Mapping[str, int], sizes: Sequence[int]) -> list[tuple[str, ...]]:
    return [names for size in sizes for names in combinations(anchors, size)]


def _given(group: str, clip: BenchClip, anchor: str, frame: int, settings: BuildSettings) -> Patch:
    """The patch, or the whole frame, of a clip's anchor, laid on a frame of a canvas."""
    if group == "AnyP2V":
        cut = clip.patches[anchor]
        return {"source": cut.file, "frame": frame, "box": list(cut.box)}
    taken = settings.anchors[anchor]
    return {"source": clip.file, "frame": frame, "range": f"{taken}-{taken}"}


def _region(clip: BenchClip, kind: str, settings: BuildSettings) -> dict[str, Any]:
    patch = {"source": clip.file, "frame": 0, "mask": clip.masks[kind]}
    return {
        "name": f"anyv2v/{clip.number:04d}-{kind}",
        "group": "AnyV2V",
        "kind": kind,
        "canvas": _canvas([patch], clip.scene.caption, settings),
        "truth": clip.file,
    }


def _transition(one: BenchClip, other: BenchClip, settings: BuildSettings) -> dict[str, Any]:
    """From the first frames of a clip to the last ones of another."""
    ends, last = settings.ends, settings.frames - 1
    patches = [
        {"source": one.file, "frame": 0, "range": f"0-{ends - 1}"},
        {"source": other.file, "frame": last - ends + 1, "range": f"{last - ends + 1}-{last}"},
    ]
    return {
        "name": f"anyv2v/{one.number:04d}+{other.number:04d}-transition",
        "group": "AnyV2V",
        "kind": "transition",
        "canvas": _canvas(patches, _joined([one.scene.caption, other.scene.caption]), settings),
        "truth": None,
    }


def _case(
    group: str,
    number: str,
    names: Sequence[str],
    patches: list[Patch],
    prompt: str,
    truth: str | None,
    settings: BuildSettings,
) -> dict[str, Any]:
    frames = "-".join(str(settings.anchors[name]) for name in names)
    return {
        "name": f"{group.lower()}/{number}-{frames}",
        "group": group,
        "kind": ("" if truth else "unrelated-") + "-".join(names),
        "canvas": _canvas(patches, prompt, settings),
        "truth": truth,
    }


def _canvas(patches: list[Patch], prompt: str, settings: BuildSettings) -> dict[str, Any]:
    size = f"{settings.height}x{settings.width}"
    return {"frames": settings.frames, "size": size, "fps": settings.fps, "prompt": prompt, "patches": patches}


def _joined(captions: Sequence[str]) -> str:
    """The captions one after the other, of those that have one."""
    return "; then ".join(caption.rstrip(". ") for caption in captions if caption)
