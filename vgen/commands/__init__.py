"""The command `vgen`: one subcommand a file. Nothing heavy is imported before the options of a subcommand are read."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from vgen.errors import InputError, exit_on_input_error, unknown_key

# Read by OpenMP when torch is imported: a thread that waits for another sleeps. By default it spins, and where more
# threads run than there are cores, as beside any other work, that made a rollout of a few seconds take minutes.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

SUMMARIES = {
    "infer": "complete a video from patches: any image or clip, at any place and pixel frame",
    "rollout": "make the video that follows from a start frame and a trajectory of the hand",
    "edit": "make a counterfactual of a trajectory: mirrored, scaled, stopped, redirected",
    "train": "train what a recipe says, on one GPU or as a rank of many",
    "export": "make a model folder of a run, or a file of its LoRA",
    "blend": "make a model between two models of one shape",
    "record": "record a simulator as a LeRobot data set",
    "data": "convert data sets of others to LeRobot, check them, carry them to another machine",
    "nano": "make nano anew: data, training, benchmarks, and a model folder with its card",
    "bench": "measure a model, the speed of training and reading, and what breaks them",
    "info": "tell what is installed, what this machine can do, and what a model is",
    "completion": "print the completion script of a shell",
}


def usage() -> str:
    """The help of `vgen` itself: a line for each subcommand."""
    width = max(map(len, SUMMARIES))
    lines = [f"  {name:{width}}  {summary}" for name, summary in SUMMARIES.items()]
    return "\n".join(["usage: vgen COMMAND [options]", "", *lines, "", "vgen COMMAND --help tells more of each.", ""])


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a subcommand.

    Args:
        arguments: its name and its options; those of the process, when None.

    Raises:
        InputError: there is no such subcommand, or what it was given cannot be used.
    """
    name, *options = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("-h", "--help", "help"):
        sys.stdout.write(usage())
    elif name == "--version":
        from vgen import __version__

        sys.stdout.write(f"vgen {__version__}\n")
    elif name in SUMMARIES:
        import_module(f"vgen.commands.{name}").main(options)
    elif name.startswith("-"):
        raise InputError(f"{name} stands before the command; write vgen COMMAND {name}, or vgen --help")
    else:
        raise unknown_key(name, SUMMARIES, "the commands of vgen")


def run() -> None:
    """What the installed script `vgen` calls."""
    exit_on_input_error(main)
