"""How well does an ego model predict the video of a trajectory, does the video obey it, and what does Stage I know?

    python benchmarks/ego_bench.py --model nano --split test --bf16 --out results.json
    python benchmarks/ego_bench.py --model runs/nano_ego/model --bodies metaworld --contact-sheets sheets
    python benchmarks/ego_bench.py --model runs/own/model --data data/bridge --layout pose7 --camera image_0

Sections, for each body (Meta-World's gripper, Adroit's hand; or the one of --data), each defined in the module that
it is named after: `forward` (ego_suite/forward.py): the predicted frame against the true one, beside copy-last-frame,
the same model without actions, and the codec; `counterfactual` (counterfactual.py): four trajectories from one start,
is a video nearest to its own truth?; `tracker` (tracking.py, tracker.py): the end effector, located in the videos of
forward dynamics (and of the counterfactuals, where that section is chosen), against the trajectory; `policy` and
`inverse` (stage_one.py): Stage I, where the model has a `state/`; and `latency` (latency.py). With --data, any
LeRobot data set, or where --sections names them: `perceptual` (looks.py): ST-LPIPS and FVD; `baselines` (trivial.py):
trajectories and texts without a model. What a data set has not is left out, and why is told. --model none: the
baselines alone.

Cases: up to --clips episodes of the split, and a quarter as many groups of counterfactuals, taking turns by task; every
rollout starts at frame 16 of a recording (cases.py). The split may be any that the data sets have, as `unseen`: tasks
that were never trained on, Meta-World's alone. The tracker is trained on first use, some minutes for each body, and
kept in --cache.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from bench_common.options import add_model_options, add_out, check_counts, check_free, make_parser
from bench_common.report import plain_args, publish, versions
from canvas_suite.judges import available
from ego_suite import latency, own, stage_one, trivial
from ego_suite.bodies import RecordedBody, all_bodies, choose_bodies
from ego_suite.cases import HORIZONS, START, read_cases, read_groups
from ego_suite.counterfactual import Obedience
from ego_suite.forward import ForwardScores
from ego_suite.looks import Looks
from ego_suite.play import Watcher, play_cases, play_groups
from ego_suite.report import table
from ego_suite.roller import Roller
from ego_suite.sheets import ForwardSheets, FutureSheets
from ego_suite.tracker import HandTracker, load_tracker
from ego_suite.tracking import Tracking

from vgen.backbone.shapes import check_advance
from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.device import device_name
from vgen.ego.pipeline import EgoPipeline
from vgen.ego.rollout import RolloutSettings
from vgen.errors import InputError, exit_on_input_error, unknown_key
from vgen.metrics import MOVING_THRESHOLD, PSNR_CAP
from vgen.models import ModelInfo
from vgen.state.model import StateModel

SECTIONS = ("forward", "counterfactual", "tracker", "policy", "inverse", "latency")
VIDEO_SECTIONS = {"forward", "perceptual", "counterfactual", "tracker", "latency"}
BRANCHES = 4
SHEETS = 3
ADVANCE = 16


@dataclass(frozen=True)
class EgoBench:
    """The model under test, where there is one, and what is asked of it."""

    args: argparse.Namespace
    sections: set[str]
    roller: Roller | None
    state: StateModel | None
    advance: int

    def body(self, body: RecordedBody) -> dict:
        """All sections of one body but the latency."""
        args, model = self.args, self.roller is not None
        missing = own.left_out(body, self.sections, args.sections is not None, model) if args.data else {}
        sections = self.sections - missing.keys()
        tracked = "tracker" in sections
        tracker = load_tracker(body, args.cache, args.tracker_seconds, args.seed) if tracked else None
        results: dict[str, dict] = {"tracker": {}} if tracked else {}
        if sections & {"forward", "perceptual", "tracker"}:
            scores, looks, tracking = self._forward(body, tracker)
            results |= {"forward": scores.summary()} if "forward" in sections else {}
            results |= {"perceptual": looks.summary()} if looks else {}
            _add(results, "forward", tracking)
        if "counterfactual" in sections:
            obedience, tracking = self._counterfactual(body, tracker)
            results["counterfactual"] = obedience.summary()
            _add(results, "counterfactual", tracking)
        if "baselines" in sections:
            results["baselines"] = trivial.measure(body, args.split, args.clips)
        stage = stage_one.measure(self.state, body, args.split, args.clips, sections, args.seed)
        return results | stage | {name: {"missing": reason} for name, reason in missing.items()}

    def _forward(
        self, body: RecordedBody, tracker: HandTracker | None
    ) -> tuple[ForwardScores, Looks | None, Tracking | None]:
        args = self.args
        cases = read_cases(body, args.split, args.clips, self.advance, args.seed)
        scores, tracking, watchers = ForwardScores(), tracker and Tracking(tracker), []
        looks = self._looks() if "perceptual" in self.sections else None
        if looks is not None:
            watchers.append(looks)
        if args.contact_sheets and self.roller is not None:
            watchers.append(ForwardSheets(args.contact_sheets, f"{body.name}-forward", SHEETS))
        play_cases(self.roller, cases, args.batch, [scores, *_present(tracking), *watchers])
        return scores, looks, tracking

    def _looks(self) -> Looks:
        device = torch.device("cpu") if self.roller is None else self.roller.pipe.transformer.device
        judges = available(self.args.fvd, [], 1, device)
        return Looks(judges.metrics.get("st_lpips"), judges.network)

    def _counterfactual(self, body: RecordedBody, tracker: HandTracker | None) -> tuple[Obedience, Tracking | None]:
        args, count = self.args, max(1, self.args.clips // BRANCHES)
        assert self.roller is not None, "there is a model"
        groups = read_groups(body, args.split, count, self.advance, args.seed)
        scores, tracking, watchers = Obedience(), tracker and Tracking(tracker), []
        if args.contact_sheets:
            watchers.append(FutureSheets(args.contact_sheets, f"{body.name}-futures", SHEETS))
        play_groups(self.roller, groups, args.batch, [scores, *_present(tracking), *watchers])
        return scores, tracking


def _present(tracking: Tracking | None) -> list[Watcher]:
    return [] if tracking is None else [tracking]


def _add(results: dict[str, dict], kind: str, tracking: Tracking | None) -> None:
    if tracking is not None:
        results["tracker"][kind] = tracking.summary()


def run(args: argparse.Namespace) -> dict:
    """Everything that is measured, as one plain dict.

    Raises:
        InputError: the model or the data cannot be used.
    """
    began = time.perf_counter()
    sections = choose_sections(args.sections or ",".join(own.SECTIONS if args.data else SECTIONS))
    bodies = bodies_of(args, sections)
    roller = None if args.model == own.NO_MODEL else load_roller(args, bodies if sections & VIDEO_SECTIONS else [])
    advance = roller.settings.advance if roller else args.advance or ADVANCE
    results, state = {}, None
    if roller is not None and sections & {"policy", "inverse"}:
        state = stage_one.load_state(args.model, roller.pipe.codec)
    if roller is not None and "latency" in sections:
        (case,) = read_cases(bodies[0], args.split, 1, advance, args.seed)
        results["latency"] = latency.measure(roller, case)
    bench = EgoBench(args, sections, roller, state, advance)
    results["bodies"] = {body.name: bench.body(body) for body in bodies}
    return _described(args, roller, results, time.perf_counter() - began)


def bodies_of(args: argparse.Namespace, sections: set[str]) -> list[RecordedBody]:
    """The bodies of a run: the data set of `--data`, or those that the benchmark knows by name.

    Raises:
        InputError: options that do not go together, or see `own_body` and `choose_bodies`.
    """
    if args.data is None:
        for name in ("layout", "camera", "column"):
            if getattr(args, name) is not None:
                raise InputError(f"--{name} is of a data set of your own; name it with --data")
        if args.model == own.NO_MODEL:
            raise InputError(f"--model {own.NO_MODEL} is for a data set of your own; name it with --data")
        known = all_bodies(args.metaworld, args.metaworld_counterfactuals, args.adroit, args.adroit_counterfactuals)
        return choose_bodies(known, args.bodies, args.split, "counterfactual" in sections)
    if args.bodies is not None:
        raise InputError("--bodies names those that the benchmark knows; leave it out, or --data")
    info = None if args.model == own.NO_MODEL else ModelInfo.read(args.model)
    return [own.own_body(args.data, args.split, args.layout, args.camera, args.column, info)]


def choose_sections(names: str) -> set[str]:
    """Sections separated by commas.

    Raises:
        InputError: one is unknown.
    """
    for name in names.split(","):
        if name not in own.SECTIONS:
            raise unknown_key(name, own.SECTIONS, "the sections")
    return set(names.split(","))


def load_roller(args: argparse.Namespace, bodies: Sequence[RecordedBody]) -> Roller:
    """The model, checked against the bodies whose videos it is to make.

    Raises:
        InputError: it cannot be loaded, does not know a body's layout or its rate, or cannot advance so.
    """
    pipe = EgoPipeline.from_pretrained(args.model)
    pipe.set_progress_bar_config(disable=True)
    pipe.to("cuda" if torch.cuda.is_available() else "cpu")
    info = ModelInfo.of(pipe)
    for body in bodies:
        if body.layout not in info.layouts:
            known = ", ".join(info.layouts)
            raise InputError(f"the model does not know {body.layout}, which {body.name} needs; it knows: {known}")
        fps = LeRobotDataset(body.data, args.split).fps
        if body.rate is None and info.ego.rate(body.layout) != fps:
            own = f"{info.ego.rate(body.layout):g} frames/s of {body.layout}"
            raise InputError(f"the model was trained at {own}; {body.data} has {fps:g}: record it at that rate")
    advance = args.advance or min(ADVANCE, info.frames - 1)
    steps = args.steps or info.steps
    check_advance(advance, info.temporal_stride)
    window = args.window or info.ego.history
    guidance = info.ego.guidance if args.guidance is None else args.guidance
    return Roller(pipe, RolloutSettings(advance, window, steps, guidance), args.bf16)


def _described(args: argparse.Namespace, roller: Roller | None, results: dict, seconds: float) -> dict:
    device = device_name(roller.pipe.transformer.device if roller else torch.device("cpu"))
    names = ("advance", "window", "steps", "guidance") if roller else ()
    shown = {name: getattr(roller.settings, name) for name in names} if roller else {"advance": args.advance or ADVANCE}
    how = ", ".join(f"{name} {value:g}" for name, value in shown.items())
    title = (
        f"ego benchmark of {args.model} ({args.split}): up to {args.clips} clips of each body from frame {START} on,\n"
        f"{how}, seed {args.seed}, {device}, {seconds:.0f} s"
    )
    about = {
        "title": title,
        "settings": plain_args(args) | shown,
        "versions": versions(),
        "device": device,
        "threads": torch.get_num_threads(),
        "seconds": seconds,
        "definitions": {"horizons": HORIZONS, "psnr_cap_db": PSNR_CAP, "moving_threshold": MOVING_THRESHOLD},
    }
    return about | results


def parse_args() -> argparse.Namespace:
    parser = make_parser(__doc__)
    add_model_options(parser, "nano or a folder with an ego/", "episodes of each body", "over the actions")
    data = Path("data")
    parser.add_argument("--data", type=Path, metavar="DIR", help="LeRobot v3 folder of your own, instead of the bodies")
    parser.add_argument("--layout", help="of the trajectory of --data (default: as it says)")
    parser.add_argument("--camera", help="of --data (default: the only one)")
    parser.add_argument("--column", help="of --data, the absolute trajectory (default: observation.state)")
    parser.add_argument("--fvd", action="store_true", help="FVD too, in `perceptual`: about a second a video")
    parser.add_argument("--metaworld", type=Path, default=data / "metaworld", help="LeRobot v3 folder")
    parser.add_argument("--metaworld-counterfactuals", type=Path, default=data / "metaworld_cf", metavar="DIR")
    parser.add_argument("--adroit", type=Path, default=data / "adroit", help="LeRobot v3 folder")
    parser.add_argument("--adroit-counterfactuals", type=Path, default=data / "adroit_cf", metavar="DIR")
    parser.add_argument("--bodies", help="metaworld,adroit (default: those that have the split)")
    about = f"of {','.join(own.SECTIONS)} (default: {','.join(SECTIONS)}; with --data all)"
    parser.add_argument("--sections", help=about)
    parser.add_argument("--advance", type=int, help="frames per step (default: 16, or the model's length less 1)")
    parser.add_argument("--window", type=int, help="past frames that are conditions (default: the model's own)")
    parser.add_argument("--cache", type=Path, default=data / "cache", help="where trackers are kept")
    parser.add_argument("--tracker-seconds", type=float, default=120, help="of a tracker's training (default: 120)")
    add_out(parser)
    return parser.parse_args()


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    args = parse_args()
    check_counts(args, "clips", "batch", "advance", "steps", "window")
    check_free(args)
    results = run(args)
    publish(results, table(results), args.out)


if __name__ == "__main__":
    exit_on_input_error(main)
