"""Make a counterfactual of a recorded trajectory: what if the hand had moved otherwise, from the same start?

    python tools/edit_trajectory.py --trajectory hand.npz --edit mirror --out left.npz
    python tools/edit_trajectory.py --trajectory hand.json --edit scale=1.5 --edit stop@0.8 --out far.json
    python tools/edit_trajectory.py --trajectory data/d/data/chunk-000/file-000.parquet --episode 3 \\
        --edit redirect=0.1,0.6,0.2@0.3 --out there.parquet
    python tools/edit_trajectory.py --layouts

Edits apply in the order given; each is NAME[=VALUE][@SECONDS][:option=value...], from SECONDS on:
    mirror[=AXIS]      the motion goes to the other side (x, y or z)
    shift=X,Y[,Z]      it drifts aside                       options blend=SECONDS
    scale=FACTOR       it goes further, or less far
    stop@SECONDS       it stands still
    redirect=X,Y[,Z]   it bends away and ends at that point  options blend=SECONDS
and the option body=NAME for one of two hands. The result has the format of the input, its layout and its times (of a
parquet file the one episode); it is written aside and then moved, and never over another file.
"""

import argparse
from pathlib import Path

import numpy as np

from vgen.errors import InputError, Parser, exit_on_input_error
from vgen.trajectory.edits import parse_edit
from vgen.trajectory.files import Source, read_trajectory, write_trajectory
from vgen.trajectory.layouts import table
from vgen.trajectory.trajectory import Trajectory


def read_options() -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = Parser(description=__doc__, formatter_class=raw, allow_abbrev=False)
    parser.add_argument("--trajectory", type=Path, metavar="FILE", help=".npz, .json or .parquet")
    parser.add_argument("--edit", action="append", default=[], metavar="EDIT", help="one edit; may be repeated")
    parser.add_argument("--out", type=Path, metavar="FILE", help="of the same format")
    parser.add_argument("--layout", help="for a file that does not say")
    parser.add_argument("--episode", type=int, metavar="N", help="of a parquet file with several")
    parser.add_argument("--column", default="observation.state", help="of a parquet file (default: %(default)s)")
    parser.add_argument("--layouts", action="store_true", help="print the table of all layouts, and nothing else")
    options = parser.parse_args()
    missing = [name for name in ("trajectory", "edit", "out") if not getattr(options, name)]
    if missing and not options.layouts:
        raise InputError(f"--{missing[0]} is missing; give --trajectory, --edit and --out, or --layouts")
    return options


def describe(before: Trajectory, after: Trajectory) -> str:
    """How far the edit moved each body."""
    lines = []
    for body in before.kind.bodies:
        places = [each.values[:, each.kind.place(body)].mean(axis=1)[each.valid] for each in (before, after)]
        far = np.linalg.norm(places[1] - places[0], axis=1)
        lines.append(f"{body}: moved by at most {far.max():.4g}, at the end by {far[-1]:.4g}")
    return "\n".join(lines)


def main() -> None:
    options = read_options()
    if options.layouts:
        print(table(), end="")
        return
    if options.out.suffix != options.trajectory.suffix:
        raise InputError(f"--out {options.out} must have the format of the input, {options.trajectory.suffix}")
    edits = [parse_edit(text) for text in options.edit]
    source = Source(options.trajectory, options.layout, options.episode, options.column)
    before = after = read_trajectory(source)
    for edit in edits:
        after = edit(after)
    write_trajectory(options.out, after, source)
    print(describe(before, after) if before.valid.any() else "no row is valid")
    print(f"wrote {options.out}: {len(after)} rows of {after.layout}, {after.times[0]:g} to {after.times[-1]:g} s")


if __name__ == "__main__":
    exit_on_input_error(main)
