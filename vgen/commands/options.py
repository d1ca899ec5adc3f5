"""Options that commands share, each written once. With sparse=True those that were not given are absent."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vgen.errors import InputError, Parser
from vgen.shipped import find

if TYPE_CHECKING:
    from vgen.inference.record import AnyAsked, AnySettings, RecordedRun, RunKind
    from vgen.media.patch import Patch


def make_parser(name: str, about: str, *, sparse: bool = False) -> Parser:
    """The parser of a subcommand.

    Args:
        name: of the subcommand, such as "infer".
        about: what `--help` says before the options.
        sparse: options that were not given are absent from the result, rather than at their default.
    """
    raw = argparse.RawDescriptionHelpFormatter
    default = argparse.SUPPRESS if sparse else None
    return Parser(f"vgen {name}", description=about, formatter_class=raw, argument_default=default, allow_abbrev=False)


def add_model_options(parser: argparse.ArgumentParser, guidance: str) -> None:
    """Which model, and how it is run: the fields of `vgen.inference.settings.RunSettings`.

    Args:
        parser: as `make_parser` returns it with sparse=True, so that what is absent is at the settings' own default.
        guidance: what the guidance is of.
    """
    parser.add_argument("--model", help="nano (default), a diffusers folder or a hub id")
    parser.add_argument("--lora", help="a LoRA of any naming: a file, folder or hub id")
    parser.add_argument("--steps", type=int, help="denoising steps; default: the model's own")
    parser.add_argument("--guidance", type=float, help=f"weight of {guidance}, 1 is none; default: the model's own")
    parser.add_argument("--scheduler", help="euler, unipc or dpm++; default: the model's own")
    parser.add_argument("--attention", help="native (default), xformers, flash, sage or flex")
    parser.add_argument("--offload", help="none (default), model or sequential: to the CPU's memory")
    parser.add_argument("--dtype", help="auto (default: bf16 on an accelerator, fp32 on the CPU), fp32, bf16 or fp16")


def add_video_options(parser: argparse.ArgumentParser, frames: str, fps: str) -> None:
    """The length, the rate and the seed of a video.

    Args:
        parser: to add them to.
        frames: what `--frames` counts, and its default.
        fps: the default of `--fps`.
    """
    parser.add_argument("--frames", type=int, help=frames)
    parser.add_argument("--fps", type=float, help=f"frames per second of the files; default: {fps}")
    parser.add_argument("--seed", type=int, help="of the noise, default 0")


def add_result_options(parser: argparse.ArgumentParser) -> None:
    """Where results go, and an earlier run to repeat."""
    parser.add_argument("--from", metavar="run.json", help="make an earlier run again, bit for bit")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results")
    add_overwrite(parser, "results")


def add_animation(parser: argparse.ArgumentParser) -> None:
    """An animated picture beside the video."""
    parser.add_argument(
        "--animation", choices=("gif", "webp"), help="write an animated picture too, as large and slow as the preview"
    )


def add_overwrite(parser: argparse.ArgumentParser, what: str) -> None:
    """Lets a command replace what an earlier one has made; see `vgen.results`.

    Args:
        parser: to add it to.
        what: may be replaced, such as "results".
    """
    about = f"replace older {what} at --out, whole, once the new are complete"
    parser.add_argument("--overwrite", action="store_true", help=about)


def add_trajectory_options(parser: argparse.ArgumentParser) -> None:
    """A file with a trajectory, how it is read, and what is changed in it."""
    parser.add_argument("--trajectory", metavar="FILE", help=".npz, .json or .parquet")
    parser.add_argument("--edit", action="append", metavar="EDIT", help="of the trajectory; may be repeated")
    parser.add_argument("--layout", help="of the trajectory, where file, data set and model leave a choice")
    parser.add_argument("--episode", type=int, metavar="N", help="of a parquet file with several")
    parser.add_argument("--column", help="of a parquet file or an episode; default: observation.state")


def read_patch(text: str, size: tuple[int, int] | None = None) -> Patch:
    """A patch of the command line; its files may be those that travel with the package.

    Args:
        text: as `parse_patch` reads it.
        size: (height, width) of the canvas in pixels, where it is known.

    Raises:
        InputError: the text is no patch.
    """
    from vgen.media.patch import parse_patch

    patch = parse_patch(text, size=size)
    found: dict[str, Any] = {name: find(path) for name in ("source", "mask") if (path := getattr(patch, name))}
    return replace(patch, **found)


def read_earlier(
    kind: RunKind[AnyAsked, AnySettings], options: dict[str, Any], what: str
) -> RecordedRun[AnyAsked, AnySettings]:
    """The run that `--from` names, to be made again as it was, with as many threads: sums round otherwise differently.

    Args:
        kind: of the run.
        options: those that were given, by name; beside `--from`, only where the results go, and as what.
        what: was made, such as "video".

    Raises:
        InputError: it names the options to leave out; or the run cannot be made again.
    """
    if others := sorted(options.keys() - {"from", "out", "overwrite", "animation"}):
        flags = ", ".join("--" + name.replace("_", "-") for name in others)
        raise InputError(f"--from makes an earlier {what} again as it was; leave out {flags}")
    import torch

    from vgen.inference.record import read_run

    earlier = read_run(kind, options["from"])
    torch.set_num_threads(earlier.data["torch_threads"])
    return earlier
