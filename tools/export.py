#!/usr/bin/env python
"""Makes a model folder of a canvas run: tools/export.py runs/nano_canvas --out my_model

The folder is a diffusers folder (safetensors) with a model card; tools/infer.py --model my_model takes it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vgen.errors import InputError, exit_on_input_error


def main() -> None:
    """Parses the command line and exports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a canvas run")
    parser.add_argument("--out", type=Path, required=True, help="model folder to make")
    parser.add_argument("--dtype", choices=("bf16", "fp16", "fp32"), default="bf16", help="type of the weights")
    parser.add_argument(
        "--after", type=Path, nargs="*", default=[], help="earlier runs to name in the card: the codec's"
    )
    parser.add_argument("--report", type=Path, help="text file with measured results, for the card")
    args = parser.parse_args()
    try:
        report = args.report.read_text() if args.report else ""
    except OSError as error:
        raise InputError(f"--report {args.report}: {error.strerror}") from error

    from vgen.canvas.runtime import DTYPES
    from vgen.train.export import export

    export(args.run, args.out, DTYPES[args.dtype], args.after, report)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    exit_on_input_error(main)
