#!/usr/bin/env python
"""Makes a model folder of a canvas or ego run, or a file of its LoRA.

    python tools/export.py runs/nano_canvas --out my_model
    python tools/export.py runs/nano_ego --with runs/nano_decoder runs/nano_state --out my_model
    python tools/export.py runs/wan21_1.3b_lora --lora comfyui --out my_lora.safetensors

The folder is a diffusers folder (safetensors) with a model card; tools/infer.py --model my_model takes it. A LoRA is
added to its base there; as a file of its own, tools/infer.py --lora my_lora.safetensors takes it, whatever the naming.

It takes the newest model that the run has exported or, where a checkpoint is newer (the run goes on, or was stopped),
makes one from that; --step takes any checkpoint (keep: N) or kept export (keep_exports: N). What is made from a
checkpoint needs the run's data and caches where its recipe says.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vgen.errors import InputError, Parser, exit_on_input_error


def main() -> None:
    """Parses the command line and exports."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a canvas or ego run")
    parser.add_argument("--out", type=Path, required=True, help="model folder to make; with --lora, the file")
    parser.add_argument("--step", type=int, help="of the run, a checkpoint's or a kept export's; default: newest")
    parser.add_argument("--lora", choices=("diffusers", "comfyui", "kohya"), help="write its LoRA alone, so named")
    parser.add_argument("--dtype", choices=("bf16", "fp16", "fp32"), default="bf16", help="type of the weights")
    parser.add_argument(
        "--after", type=Path, nargs="*", default=[], help="earlier runs to name in the card: the codec's"
    )
    parser.add_argument(
        "--with",
        dest="parts",
        type=Path,
        nargs="*",
        default=[],
        metavar="RUN",
        help="runs whose models become parts of it: a codec with the same latents, Stage I",
    )
    parser.add_argument("--report", type=Path, help="text file with measured results, for the card")
    args = parser.parse_args()
    try:
        report = args.report.read_text(encoding="utf-8") if args.report else ""
    except OSError as error:
        raise InputError(f"--report {args.report}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"--report {args.report} is not a text in UTF-8") from error

    from vgen.inference.settings import DTYPES
    from vgen.train.export import export, export_lora

    if args.lora:
        export_lora(args.run, args.out, args.lora, DTYPES[args.dtype], args.step)
    else:
        export(args.run, args.out, DTYPES[args.dtype], args.after, report, args.parts, args.step)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    exit_on_input_error(main)
