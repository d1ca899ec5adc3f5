"""Are two models, or several, different on a bench, and where? A page with their differences and videos.

    python benchmarks/bench_compare.py results/nano results/mine --out compared.html
    python benchmarks/bench_compare.py results/ours results/nearest_slot results/padding --out table.html
    python benchmarks/bench_compare.py nano_canvas.json mine_canvas.json

The folders are those that `vgen bench canvas --bench BENCH --out RESULTS` has written, all on the same bench. All are
compared with the first one, case by case; the intervals of the differences are bootstraps over clips. Two files that
`vgen bench canvas --out FILE` or `vgen bench ego --out FILE` have written of the same clips are compared in the same
way, in text alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench_common.options import make_parser
from bench_report import paired
from bench_report.compare import names_of, write_comparison
from bench_report.tables import about

from vgen.errors import InputError, exit_on_input_error
from vgen.results import check_file


def parse_args() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument(
        "results",
        nargs="+",
        type=Path,
        help="folders of results, the first one to compare with; or two files of results",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="of the page, as compared.html; of folders")
    parser.add_argument("--overwrite", action="store_true", help="replace an older page")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if len(args.results) < 2:
        raise InputError(f"one result, {args.results[0]}, has nothing to be compared with; name two or more")
    if any(each.is_file() for each in args.results):
        compare_files(args)
    else:
        compare_folders(args)


def compare_files(args: argparse.Namespace) -> None:
    """Prints in what two files of results differ."""
    if len(args.results) != 2 or not all(each.is_file() for each in args.results):
        raise InputError("files of results are compared two at a time; name two of them")
    if args.out is not None:
        raise InputError(f"--out {args.out}: two files are compared in text; leave it out, or name folders of results")
    for line in paired.lines(paired.compare(*map(paired.read, args.results))):
        print(line)
    print("\n* the 95 % interval leaves out 0")


def compare_folders(args: argparse.Namespace) -> None:
    """Writes the page of several folders of results, and prints in what they differ from the first."""
    if args.out is None:
        raise InputError("--out is missing: name the file of the page, as compared.html")
    check_file(args.out, args.overwrite)
    found = write_comparison(args.results, args.out)
    names = names_of(args.results)
    for group, measures in found.items():
        print(f"{group}, against {names[0]}")
        for measure, differences in measures.items():
            for name, each in zip(names[1:], differences, strict=True):
                digits = about(measure).digits
                interval = f"[{each.low:+.{digits}f}, {each.high:+.{digits}f}]{' *' if each.is_sure else ''}"
                print(f"  {about(measure).title:<32}{name:<24}{each.mean:+.{digits}f} {interval}")
    print(f"\n* the 95 % interval leaves out 0. To look at: {args.out}")


if __name__ == "__main__":
    exit_on_input_error(main)
