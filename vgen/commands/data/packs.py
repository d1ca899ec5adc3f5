"""`vgen data pack` and `vgen data unpack`: data sets carried to another machine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vgen.commands.options import add_overwrite
from vgen.data.pack import CRF, MAX_MB
from vgen.errors import InputError

if TYPE_CHECKING:
    from vgen.commands.data import Choices
    from vgen.data.pack.manifest import Manifest, PackedSet


def add(choices: Choices) -> None:
    """Adds both commands."""
    pack = choices.add_parser("pack", help="data sets into one small folder", allow_abbrev=False)
    _add_pack(pack)
    pack.set_defaults(run=_pack)
    unpack = choices.add_parser("unpack", help="the data sets of a pack, to train on", allow_abbrev=False)
    unpack.add_argument("pack", type=Path, metavar="PACK", help="folder that `vgen data pack` made")
    unpack.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the data sets, such as data")
    unpack.set_defaults(run=_unpack)


def _pack(options: dict[str, Any]) -> None:
    from vgen.data.pack.packing import pack

    options["fps"] = dict(map(_rate, options["fps"]))
    manifest = pack(**options)
    print("\n".join([*map(_line, manifest.sets), _total(options["out"], manifest)]))


def _unpack(options: dict[str, Any]) -> None:
    from vgen.data.pack.unpacking import unpack

    for folder in unpack(**options):
        print(f"unpacked {folder}")


def _add_pack(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("datasets", nargs="+", type=Path, metavar="DATASET", help="LeRobot v3 folders")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    about = (
        f"megabytes of all files, at most; episodes of train are left out where they have no room; default: {MAX_MB:g}"
    )
    parser.add_argument("--max-mb", type=float, default=MAX_MB, metavar="MB", help=about)
    parser.add_argument("--camera", metavar="NAME", help="which one of each set that has several")
    about = f"quality, 0 (best) to 51; 6 more is half the bytes; default: {CRF}"
    parser.add_argument("--crf", type=int, default=CRF, metavar="N", help=about)
    about = "frames per second that are taken of a set, a whole part of the recorded ones; default: all"
    parser.add_argument("--fps", nargs="+", default=[], metavar="SET=FPS", help=about)
    parser.add_argument("--splits", nargs="+", metavar="SPLIT", help="which ones are packed; default: all")
    add_overwrite(parser, "packs")


def _rate(given: str) -> tuple[str, float]:
    name, _, rate = given.rpartition("=")
    try:
        return name, float(rate)
    except ValueError as error:
        raise InputError(f"--fps {given} is not SET=FPS, such as metaworld=40") from error


def _line(one: PackedSet) -> str:
    loss = one.loss
    told = f"{one.name}: {one.episodes} episodes, {one.frames} frames of {one.size[0]}x{one.size[1]} at {one.fps:g}/s"
    told += f"; PSNR {loss.psnr:.1f} dB"
    told += f", of what moves {loss.moving:.1f}" if loss.moving is not None else ""
    told += f", of the worst frame {loss.worst:.1f}"
    told += f"; SSIM {loss.ssim:.3f}" if loss.ssim is not None else ""
    left_out = [f"{count} of {split}" for split, count in one.left_out.items() if count]
    return told + (f"; left out: {', '.join(left_out)}" if left_out else "")


def _total(out: Path, manifest: Manifest) -> str:
    return f"{out}: {manifest.bytes / 1e6:.1f} MB in {len(manifest.files) + 1} files"
