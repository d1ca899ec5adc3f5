"""How well does an ego model predict the video of a trajectory, does the video obey it, and what does Stage I know?

    python benchmarks/ego_bench.py --model nano --split test --bf16 --out results.json
    python benchmarks/ego_bench.py --model runs/nano_ego/model --bodies metaworld --contact-sheets sheets

Sections, for each body (Meta-World's gripper, Adroit's hand), each defined in the module that it is named after:
`forward` (ego_suite/forward.py): the predicted frame against the true one, beside copy-last-frame, the same model
without actions, and the codec; `counterfactual` (counterfactual.py): four trajectories from one start, is a video
nearest to its own truth?; `tracker` (tracking.py, tracker.py): the end effector, located in the videos of forward
dynamics (and of the counterfactuals, where that section is chosen), against the trajectory; `policy` and `inverse`
(stage_one.py): Stage I, where the model has a `state/`; and `latency` (latency.py).

Cases: up to --clips episodes of the split, and a quarter as many groups of counterfactuals, taking turns by task; every
rollout starts at frame 16 of a recording (cases.py). The split `unseen`, tasks that were never trained on, is
Meta-World's alone. The tracker is trained on first use, some minutes for each body, and kept in --cache.
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
from ego_suite import latency, stage_one
from ego_suite.bodies import RecordedBody, all_bodies, choose_bodies
from ego_suite.cases import HORIZONS, START, read_cases, read_groups
from ego_suite.counterfactual import Obedience
from ego_suite.forward import ForwardScores
from ego_suite.play import Watcher, play_cases, play_groups
from ego_suite.report import table
from ego_suite.roller import Roller
from ego_suite.sheets import ForwardSheets, FutureSheets
from ego_suite.tracker import HandTracker, load_tracker
from ego_suite.tracking import Tracking

from vgen.backbone.shapes import check_advance
from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.ego.pipeline import EgoPipeline
from vgen.ego.rollout import RolloutSettings
from vgen.errors import InputError, exit_on_input_error, unknown_key
from vgen.metrics import MOVING_THRESHOLD, PSNR_CAP
from vgen.models import ModelInfo
from vgen.state.model import StateModel

SECTIONS = ("forward", "counterfactual", "tracker", "policy", "inverse", "latency")
VIDEO_SECTIONS = {"forward", "counterfactual", "tracker", "latency"}
BRANCHES = 4
SHEETS = 3
ADVANCE = 16


@dataclass(frozen=True)
class EgoBench:
    """The model under test, and what is asked of it."""

    args: argparse.Namespace
    sections: set[str]
    roller: Roller
    state: StateModel | None

    def body(self, body: RecordedBody) -> dict:
        """All sections of one body but the latency."""
        args, sections = self.args, self.sections
        tracked = "tracker" in sections
        tracker = load_tracker(body, args.cache, args.tracker_seconds, args.seed) if tracked else None
        results: dict[str, dict] = {"tracker": {}} if tracked else {}
        if sections & {"forward", "tracker"}:
            scores, tracking = self._forward(body, tracker)
            results |= {"forward": scores.summary()} if "forward" in sections else {}
            _add(results, "forward", tracking)
        if "counterfactual" in sections:
            obedience, tracking = self._counterfactual(body, tracker)
            results["counterfactual"] = obedience.summary()
            _add(results, "counterfactual", tracking)
        stage = stage_one.measure(self.state, body, args.split, args.clips, sections, args.seed)
        return results | stage

    def _forward(self, body: RecordedBody, tracker: HandTracker | None) -> tuple[ForwardScores, Tracking | None]:
        args = self.args
        cases = read_cases(body, args.split, args.clips, self.roller.settings.advance, args.seed)
        scores, tracking, watchers = ForwardScores(), tracker and Tracking(tracker), []
        if args.contact_sheets:
            watchers.append(ForwardSheets(args.contact_sheets, f"{body.name}-forward", SHEETS))
        play_cases(self.roller, cases, args.batch, [scores, *_present(tracking), *watchers])
        return scores, tracking

    def _counterfactual(self, body: RecordedBody, tracker: HandTracker | None) -> tuple[Obedience, Tracking | None]:
        args, count = self.args, max(1, self.args.clips // BRANCHES)
        groups = read_groups(body, args.split, count, self.roller.settings.advance, args.seed)
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
    began, sections = time.perf_counter(), choose_sections(args.sections)
    known = all_bodies(args.metaworld, args.metaworld_counterfactuals, args.adroit, args.adroit_counterfactuals)
    bodies = choose_bodies(known, args.bodies, args.split, "counterfactual" in sections)
    roller = load_roller(args, bodies if sections & VIDEO_SECTIONS else [])
    state = stage_one.load_state(args.model, roller.pipe.codec) if sections & {"policy", "inverse"} else None
    results = {}
    if "latency" in sections:
        (case,) = read_cases(bodies[0], args.split, 1, roller.settings.advance, args.seed)
        results["latency"] = latency.measure(roller, case)
    bench = EgoBench(args, sections, roller, state)
    results["bodies"] = {body.name: bench.body(body) for body in bodies}
    return _described(args, roller, results, time.perf_counter() - began)


def choose_sections(names: str) -> set[str]:
    """Sections separated by commas.

    Raises:
        InputError: one is unknown.
    """
    for name in names.split(","):
        if name not in SECTIONS:
            raise unknown_key(name, SECTIONS, "the sections")
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
        if info.ego.rate(body.layout) != fps:
            own = f"{info.ego.rate(body.layout):g} frames/s of {body.layout}"
            raise InputError(f"the model was trained at {own}; {body.data} has {fps:g}: record it at that rate")
    advance = args.advance or min(ADVANCE, info.frames - 1)
    steps = args.steps or info.steps
    check_advance(advance, info.temporal_stride)
    window = args.window or info.ego.history
    guidance = info.ego.guidance if args.guidance is None else args.guidance
    return Roller(pipe, RolloutSettings(advance, window, steps, guidance), args.bf16)


def _described(args: argparse.Namespace, roller: Roller, results: dict, seconds: float) -> dict:
    settings, device = roller.settings, latency.device_name(roller.pipe.transformer.device)
    names = ("advance", "window", "steps", "guidance")
    shown = {name: getattr(settings, name) for name in names}
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
    parser.add_argument("--metaworld", type=Path, default=data / "metaworld", help="LeRobot v3 folder")
    parser.add_argument("--metaworld-counterfactuals", type=Path, default=data / "metaworld_cf", metavar="DIR")
    parser.add_argument("--adroit", type=Path, default=data / "adroit", help="LeRobot v3 folder")
    parser.add_argument("--adroit-counterfactuals", type=Path, default=data / "adroit_cf", metavar="DIR")
    parser.add_argument("--bodies", help="metaworld,adroit (default: those that have the split)")
    parser.add_argument("--sections", default=",".join(SECTIONS), help=f"default: {','.join(SECTIONS)}")
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
