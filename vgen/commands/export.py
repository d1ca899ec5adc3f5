"""Makes a model folder of a canvas or ego run, or a file of its LoRA.

    vgen export runs/nano_canvas --out my_model
    vgen export runs/nano_ego --with runs/nano_decoder runs/nano_state --out my_model
    vgen export runs/wan21_1.3b_lora --lora comfyui --out my_lora.safetensors

The folder is a diffusers folder (safetensors) with a model card; vgen infer --model my_model takes it. A LoRA is
added to its base there; as a file of its own, vgen infer --lora my_lora.safetensors takes it, whatever the naming.

It takes the newest model that the run has exported or, where a checkpoint is newer (the run goes on, or was stopped),
makes one from that; --step takes any checkpoint (keep: N) or kept export (keep_exports: N). What is made from a
checkpoint needs the run's data and caches where its recipe says.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vgen.commands.options import add_overwrite, make_parser
from vgen.errors import InputError, Parser

MODEL_ONLY = {"--with": "parts", "--after": "after", "--report": "report"}  # options, and where argparse keeps them


def parser() -> Parser:
    """The options."""
    parser = make_parser("export", __doc__)
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
        help="runs whose newest models become parts of it: a codec with the same latents, Stage I",
    )
    add_overwrite(parser, "model or LoRA")
    parser.add_argument("--report", type=Path, help="text file with measured results, for the card")
    return parser


def read_report(path: Path | None) -> str:
    """The text of a report, "" where there is none.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8") if path else ""
    except OSError as error:
        raise InputError(f"--report {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"--report {path} is not a text in UTF-8") from error


def main(arguments: Sequence[str] | None = None) -> None:
    """Exports, as the options say."""
    options = parser().parse_args(arguments)
    if options.lora and (others := [flag for flag, dest in MODEL_ONLY.items() if getattr(options, dest)]):
        raise InputError(f"--lora writes a file with no card and no other parts; leave out {', '.join(others)}")
    report = read_report(options.report)

    from vgen.backbone.precision import DTYPES
    from vgen.train.export import export, export_lora

    dtype = DTYPES[options.dtype]
    if options.lora:
        export_lora(options.run, options.out, options.lora, dtype, options.step, options.overwrite)
    else:
        beside = options.after, report, options.parts
        export(options.run, options.out, dtype, *beside, options.step, options.overwrite)
    print(f"wrote {options.out}")
