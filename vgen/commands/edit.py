"""Make a counterfactual of a recorded trajectory: what if the hand had moved otherwise, from the same start?

    vgen edit --trajectory hand.npz --edit mirror --out left.npz
    vgen edit --trajectory hand.json --edit scale=1.5 --edit stop@0.8 --out far.json
    vgen edit --trajectory data/d/data/chunk-000/file-000.parquet --episode 3 \\
        --edit redirect=0.1,0.6,0.2@0.3 --out there.parquet
    vgen edit --layouts

Edits apply in the order given; each is NAME[=VALUE][@SECONDS][:option=value...], from SECONDS on:
    mirror[=AXIS]      the motion goes to the other side (x, y or z)
    shift=X,Y[,Z]      it drifts aside                       options blend=SECONDS
    scale=FACTOR       it goes further, or less far
    stop@SECONDS       it stands still
    redirect=X,Y[,Z]   it bends away and ends at that point  options blend=SECONDS
and the option body=NAME for one of two hands. The result has the format of the input, its layout and its times (of a
parquet file the one episode); it is written aside and then moved, over another file with --overwrite alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vgen.commands.options import add_overwrite, add_trajectory_options, make_parser
from vgen.errors import InputError, Parser
from vgen.results import check_file
from vgen.shipped import find
from vgen.trajectory.edits import parse_edit
from vgen.trajectory.files import TrajectoryFile, read_trajectory, write_trajectory
from vgen.trajectory.layouts import table
from vgen.trajectory.places import known_rows, place_of
from vgen.trajectory.trajectory import Trajectory


def parser() -> Parser:
    """The options."""
    parser = make_parser("edit", __doc__, sparse=True)
    add_trajectory_options(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="of the same format")
    add_overwrite(parser, "file")
    parser.add_argument("--layouts", action="store_true", help="print the table of all layouts, and nothing else")
    return parser


def describe(before: Trajectory, after: Trajectory) -> str:
    """How far the edit moved each body."""
    lines = []
    for body in before.spec.bodies:
        known = known_rows(before, body)
        if not known.any():
            lines.append(f"{body}: not in it")
            continue
        far = np.linalg.norm(place_of(after, body)[known] - place_of(before, body)[known], axis=1)
        lines.append(f"{body}: moved by at most {far.max():.4g}, at the end by {far[-1]:.4g}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Edits, as the options say."""
    options = vars(parser().parse_args(arguments))
    if "layouts" in options:
        print(table(), end="")
        return
    if missing := [name for name in ("trajectory", "edit", "out") if not options.get(name)]:
        raise InputError(f"--{missing[0]} is missing; give --trajectory, --edit and --out, or --layouts")
    path, out = Path(find(options["trajectory"])), options["out"]
    if out.suffix != path.suffix:
        raise InputError(f"--out {out} must have the format of the input, {path.suffix}")
    overwrite = options.get("overwrite", False)
    check_file(out, overwrite)
    edits = [parse_edit(text) for text in options["edit"]]
    source = TrajectoryFile(
        path, **{name: options[name] for name in ("layout", "episode", "column") if name in options}
    )
    before = after = read_trajectory(source)
    for edit in edits:
        after = edit(after)
    write_trajectory(out, after, source, overwrite)
    print(describe(before, after))
    print(f"wrote {out}: {len(after)} rows of {after.layout}, {after.times[0]:g} to {after.times[-1]:g} s")
