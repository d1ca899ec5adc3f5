"""Builds a bench: chooses clips, writes them with their patches and masks, and the manifest that names them all."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bench_sets.bench import FORMAT, MANIFEST, VERSION
from bench_sets.cases import BenchClip, make_cases
from bench_sets.choice import Chosen, Search, choose
from bench_sets.looks import Looks
from bench_sets.lossless import write_lossless
from bench_sets.nearest import nothing_chosen
from bench_sets.objects import ObjectFinder
from bench_sets.patches import CROP, cut_patches, draw_masks
from bench_sets.recordings import Recording, by_turns
from bench_sets.scenes import Scene
from bench_sets.settings import BuildSettings
from vgen.files import file_sha256, writing
from vgen.results import Kind, check_folder, results_folder

BENCH = Kind("a bench", MANIFEST, frozenset({MANIFEST, "clips", "media"}))
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Built:
    """A bench that was built: what was found, its manifest, and how many recordings there were."""

    search: Search
    manifest: dict[str, Any]
    recordings: int


def build(
    recordings: Sequence[Recording], settings: BuildSettings, finder: ObjectFinder, out: Path, overwrite: bool = False
) -> Built:
    """Builds a bench, whole or not at all. What was measured of clips is kept beside `out` until then, so that the same
    call goes on where it was interrupted.

    Args:
        recordings: to choose clips from.
        settings: of the bench.
        finder: of objects.
        out: folder for it.
        overwrite: whether an older bench may be replaced.

    Raises:
        InputError: no clip passes, `out` holds something already or must not be written to, or a package is missing.
        TryAgain: the disk is full.
    """
    check_folder(out, BENCH, overwrite)
    measured = out.with_name(f".{out.name}.looks.jsonl")
    with writing(out, kept=""):
        out.parent.mkdir(parents=True, exist_ok=True)
    search = choose(by_turns(recordings, settings.seed), settings, Looks(measured))
    if not search.chosen:
        raise nothing_chosen(search, settings)
    with results_folder(out, BENCH, overwrite) as folder:
        manifest = _write(search, settings, finder, folder)
    measured.unlink(missing_ok=True)
    return Built(search, manifest, len(recordings))


def _write(search: Search, settings: BuildSettings, finder: ObjectFinder, folder: Path) -> dict[str, Any]:
    for name in ("clips", "media"):
        (folder / name).mkdir()
    clips = []
    for number, chosen in enumerate(tqdm(search.chosen, "writing clips", unit="clip", delay=2)):
        clips.append(_write_clip(number, chosen, settings, finder, folder))
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "settings": {**settings.to_dict(), "objects": _of_finder(finder)},
        "clips": [_of_clip(clip, chosen) for clip, chosen in zip(clips, search.chosen, strict=True)],
        "cases": make_cases(clips, settings),
        "left_out": search.left_out(),
        "patches": patch_counts(clips),
        "files": {name: file_sha256(folder / name) for name in files},
    }
    text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return manifest


def _write_clip(number: int, chosen: Chosen, settings: BuildSettings, finder: ObjectFinder, folder: Path) -> BenchClip:
    pixels = chosen.recording.read(chosen.frames, settings.size)
    file = f"clips/{number:04d}.mkv"
    write_lossless(folder / file, pixels, settings.fps)
    patches = cut_patches(pixels, number, settings, finder, folder)
    scene = Scene(chosen.recording.name, chosen.recording.caption)
    return BenchClip(number, file, scene, patches, draw_masks(number, settings, folder))


def _of_clip(clip: BenchClip, chosen: Chosen) -> dict[str, Any]:
    """What the manifest says of a clip."""
    return {
        "file": clip.file,
        "source": chosen.recording.name,
        "source_sha256": chosen.recording.sha256,
        "source_frames": [chosen.frames[0], chosen.frames[-1]],
        "caption": clip.scene.caption,
        "sharpness": chosen.look.sharpness,
        "flow": chosen.look.flow,
        "patches": [patch.to_dict() for patch in clip.patches.values()],
    }


def _of_finder(finder: ObjectFinder) -> dict[str, str]:
    return {"found_by": finder.name} | ({"sha256": finder.sha256} if finder.sha256 else {})


def patch_counts(clips: Sequence[BenchClip]) -> dict[str, int]:
    """How many patches are of each kind; "no object found" counts the crops that stand in for one."""
    patches = [patch for clip in clips for patch in clip.patches.values()]
    counts = Counter(patch.found_by for patch in patches)
    missing = sum(patch.object_wanted and patch.found_by == CROP for patch in patches)
    return dict(sorted(counts.items())) | {"no object found": missing}
