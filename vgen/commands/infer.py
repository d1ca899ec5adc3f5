"""Complete a video from patches: any image or clip, at any place and pixel frame.

    vgen infer --patch cat.png@0 --patch dog.png@-1:box=0.1,0.2,0.6,0.8 --prompt "a cat" --out outputs/cat
    vgen infer --spec configs/canvas/first_last.yaml --seed 3 --out outputs/first_last
    vgen infer --from outputs/first_last/run.json --out outputs/again

Writes video.mp4, contact_sheet.png and run.json, of a small or short video preview.mp4 too, which can be watched, and
prints how closely each patch was kept. What is given here goes
before what the spec says, and patches over those of the spec. A patch is SOURCE@FRAME[:option=value...] with the
options box=x0,y0,x1,y1 (0 to 1), mask=FILE (white is given), as=frames|clip, range=FIRST-LAST (of a clip),
fit=cover|contain|stretch, keep=exact|model and strength=0..1 (below 1 the model may depart from it).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from vgen.canvas.spec import Canvas
from vgen.commands.options import (
    add_animation,
    add_model_options,
    add_result_options,
    add_video_options,
    make_parser,
    read_earlier,
    read_patch,
)
from vgen.errors import Parser
from vgen.results import VIDEO_RUN, check_folder

CANVAS_OPTIONS = ("frames", "size", "prompt", "negative_prompt", "seed", "fps", "keep")


def parser() -> Parser:
    """The options."""
    parser = make_parser("infer", __doc__, sparse=True)
    parser.add_argument("--spec", metavar="YAML", help="a canvas; examples in configs/canvas")
    parser.add_argument("--patch", action="append", metavar="PATCH", help="one more patch; may be repeated")
    parser.add_argument("--size", metavar="HxW", help="pixels; default: the model's own")
    parser.add_argument("--keep", help="exact: what is given is put back, and the rest matched to it; default: model")
    parser.add_argument("--paradigm", metavar="NAME", help="how patches reach the model; default: as it was trained")
    parser.add_argument("--prompt", help="what the video shows; without it the model may take a picture as still")
    parser.add_argument("--negative-prompt", metavar="PROMPT", help="what it should not show; needs a guidance above 1")
    add_video_options(parser, "1 + 4k; default: the model's own", "that of the clips, or 15")
    parser.add_argument("--extend-to", type=int, metavar="N", help="go on segment by segment to N frames")
    parser.add_argument("--loop", action="store_true", help="with --extend-to: end where the video began")
    add_model_options(parser, "the prompt")
    add_animation(parser)
    add_result_options(parser)
    return parser


def read_canvas(options: dict[str, Any]) -> Canvas:
    """The canvas of the spec, with the options over it; without a spec, of the model's own size."""
    given = {name: options[name] for name in CANVAS_OPTIONS if name in options}
    if "spec" in options:
        canvas = Canvas.from_yaml(options["spec"], **given)
    else:
        if not {"frames", "size"} <= given.keys():
            from vgen.models import ModelInfo

            info = ModelInfo.read(options.get("model", "nano"), parts=())
            given = {"frames": info.frames, "size": f"{info.height}x{info.width}"} | given
        canvas = Canvas.from_dict(given)
    return canvas.add(*(read_patch(text, (canvas.height, canvas.width)) for text in options.get("patch", [])))


def run(options: dict[str, Any]) -> None:
    """Makes the video that the options ask for, or that of an earlier run, and prints what came of it."""
    earlier, canvas = None, None if "from" in options else read_canvas(options)
    # Late, as is all that needs torch, so that a wrong spec is refused at once.
    from vgen.canvas.report import format_seam, format_table
    from vgen.inference.canvas import CANVAS_RUN, run_canvas
    from vgen.inference.settings import CanvasSettings

    if canvas is None:
        earlier = read_earlier(CANVAS_RUN, options, "video")
        canvas, settings = earlier.asked, earlier.settings
    else:
        given = {field.name: options[field.name] for field in fields(CanvasSettings) if field.name in options}
        settings = CanvasSettings(**given)
    result = run_canvas(canvas, settings, options["out"], options.get("overwrite", False), options.get("animation"))
    if result.fidelity:
        print(format_table(result.fidelity))
    if result.seam is not None:
        print(format_seam(result.seam))
    print("seconds: " + ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in result.seconds.items()))
    if result.left_out:
        print(f"contact_sheet.png shows, of what was {result.left_out}")
    files = [f"video.mp4 ({result.fps:g} fps)", *result.previews, "contact_sheet.png"]
    print(f"wrote {options['out']}/{', '.join(files)} and run.json")
    if earlier is not None:
        same = earlier.equals(result)
        print("the frames are those of the earlier run" if same else "the frames DIFFER from those of the earlier run")


def main(arguments: Sequence[str] | None = None) -> None:
    """Completes a video, as the options say."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    options = vars(parser().parse_args(arguments))
    check_folder(options["out"], VIDEO_RUN, options.get("overwrite", False))
    run(options)
