"""Roll a video out: what follows from a start frame under a trajectory of the hand, or under the one that is predicted.

    vgen rollout --start frame.png --trajectory hand.npz --text "open the drawer" --frames 120 --out out/open
    vgen rollout --start data/metaworld_cf:episode=3:split=test:frame=16 --edit mirror --out out/mirrored
    vgen rollout --start clip.mp4@16 --trajectory hand.json --goal end.png@96:box=0.2,0.4,0.7,0.9 --out out/e
    vgen rollout --start photo.jpg --trajectory-from hands.mp4 --model out/mine --out out/moved
    vgen rollout --mode policy --start data/adroit:episode=2:split=test --text "pick it up" --out out/policy
    vgen rollout --mode inverse --video clip.mp4 --out out/explained
    vgen rollout --from out/open/run.json --out out/again

Modes: forward (the default), the video under a given trajectory; policy, the trajectory, its text and the video that
follows from it; inverse, the trajectory that explains a video, from its first frame on. Each writes trajectory.mp4 (the
trajectory drawn with the frames), contact_sheet.png, trajectory.npz, trajectory.json and run.json; forward and policy
write video.mp4, the start frame first, and preview.mp4 of one that is small or short.

A start is an image, a video (CLIP@FRAME; what comes before the frame is history; its last one by default) or an episode
of a LeRobot v3 folder, FOLDER:episode=N[:frame=K][:split=NAME][:camera=NAME], which also gives text, past and, where no
trajectory is named, the recorded one. Time 0 is the start frame: the first row of a trajectory is the state there
(of a policy's past the last one), or the row --at says, and action k leads from frame k to frame k + 1. Edits are those
of vgen edit, of the frames that are made, and count their seconds from the start frame. A goal is a
patch as vgen infer takes it, at a frame counted from the start.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from vgen.commands.options import (
    add_animation,
    add_model_options,
    add_result_options,
    add_trajectory_options,
    add_video_options,
    make_parser,
    read_earlier,
    read_patch,
)
from vgen.errors import InputError, Parser
from vgen.inference.ego.spec import MODES, TRAJECTORY_FILES, RolloutSpec, parse_start
from vgen.results import VIDEO_RUN, check_folder
from vgen.shipped import find
from vgen.trajectory.layouts import LAYOUTS

if TYPE_CHECKING:
    from vgen.inference.ego.generate import RolloutResult

ASKED = ("mode", "text", "frames", "fps", "seed", "trajectory", "trajectory_from", "at", "layout", "column", "episode")


def parser() -> Parser:
    """The options."""
    parser = make_parser("rollout", __doc__, sparse=True)
    parser.add_argument("--mode", choices=MODES, help="forward (default), policy or inverse")
    parser.add_argument("--start", "--video", metavar="START", help="an image, CLIP[@FRAME] or FOLDER:episode=N")
    add_trajectory_options(parser)
    about = "instead, a video of hands, which are tracked; for models of keypoints or hand_boxes"
    parser.add_argument("--trajectory-from", metavar="VIDEO", help=about)
    parser.add_argument("--at", type=float, metavar="SECONDS", help="of the start frame, on the trajectory's clock")
    parser.add_argument("--goal", action="append", metavar="PATCH", help="a patch ahead in time; may be repeated")
    parser.add_argument("--text", help="what is done; default: what the episode says")
    add_video_options(parser, "of the future; default: all of the trajectory, 1000 at most", "the model's rate")
    parser.add_argument("--advance", type=int, help="frames per step: 1, or a multiple of the codec's 4; default 4")
    parser.add_argument(
        "--window", type=int, help="past frames that are kept in view; default: as the model was trained"
    )
    add_model_options(parser, "the actions")
    add_animation(parser)
    add_result_options(parser)
    return parser


def read_spec(options: dict[str, Any]) -> RolloutSpec:
    """What the options ask."""
    if "start" not in options:
        raise InputError("--start is missing; name an image, a video or an episode as FOLDER:episode=N")
    given = {name: options[name] for name in ASKED if name in options}
    goals = tuple(read_patch(text) for text in options.get("goal", []))
    start = parse_start(options["start"])
    for name in TRAJECTORY_FILES:
        if name in given:
            given[name] = find(given[name])
    edits = tuple(options.get("edit", []))
    return RolloutSpec(replace(start, path=find(start.path)), edits=edits, goals=goals, **given)


def run(options: dict[str, Any]) -> None:
    """Does what the options ask, or what an earlier run was asked, and prints what came of it."""
    earlier, spec = None, None if "from" in options else read_spec(options)
    # Late, as is all that needs torch, so that wrong options are refused at once.
    from vgen.inference.ego.run import ROLLOUT_RUN, run_rollout
    from vgen.inference.settings import EgoSettings

    if spec is None:
        earlier = read_earlier(ROLLOUT_RUN, options, "run")
        spec, settings = earlier.asked, earlier.settings
    else:
        given = {field.name: options[field.name] for field in fields(EgoSettings) if field.name in options}
        of_video = given.keys() - {"model"} | options.keys() & {"animation"}
        if spec.mode == "inverse" and (unused := sorted(of_video)):
            raise InputError(f"--{unused[0]} is of a video, and mode=inverse makes none; leave it out")
        settings = EgoSettings(**given)
    result = run_rollout(spec, settings, options["out"], options.get("overwrite", False), options.get("animation"))
    report(result, options["out"])
    if earlier is not None:
        same = earlier.equals(result)
        print("all is as in the earlier run" if same else "the results DIFFER from those of the earlier run")


def report(result: RolloutResult, out: str) -> None:
    """Prints what was made, the time it took, and where it is."""
    lasts, what = result.frames / result.rate, f"{result.layout} at {result.rate:g} per second"
    if result.text:
        print(f"text, as given: {result.text}")
    if result.mode == "inverse":
        known = {"absolute": "absolute: the start is known", "delta": "steps (delta): the start is not known"}
        print(f"inverse: {what}; {result.frames} steps, {lasts:.2f} s, {known[result.form]}")
        print(spread_line(result))
    else:
        print(f"{result.mode}: {what}; {result.frames} frames of future, {lasts:.2f} s, after the start frame")
        for turn, text in enumerate(dict.fromkeys(result.texts)):
            print(f"text, as the policy wrote it{'' if turn == 0 else ' later'}: {text}")
        took = result.seconds
        rate = result.frames / took["rollout"]
        print(f"start frame: the codec alone holds {result.start_codec_psnr:.2f} dB of it")
        print(f"first frames after {took['first']:.2f} s; {rate:.2f} frames per second, decoding included")
    print("seconds: " + ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in result.seconds.items()))
    videos = [] if result.mode == "inverse" else ["video.mp4", *result.previews]
    files = [*videos, "trajectory.mp4", "contact_sheet.png", "trajectory.npz", "trajectory.json"]
    print(f"wrote {out}/{', '.join(files)} and run.json")


def spread_line(result: RolloutResult) -> str:
    """How well an explained trajectory is known."""
    if not any(result.spread.values()):
        return "how well it is known is open: the model draws one explanation alone"
    layout = LAYOUTS[result.layout]
    unit = layout.columns[layout.place(layout.bodies[0])[0][0]].unit
    parts = ", ".join(f"{body} {far:.2g} {unit}" for body, far in result.spread.items())
    return f"how well it is known: the end of a drawn path differs by {parts} (standard deviation of the draws)"


def main(arguments: Sequence[str] | None = None) -> None:
    """Rolls out, as the options say."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    options = vars(parser().parse_args(arguments))
    check_folder(options["out"], VIDEO_RUN, options.get("overwrite", False))
    run(options)
