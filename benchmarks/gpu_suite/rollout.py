"""How many frames a second a rollout makes: denoising, decoding and remembering, after a recording of noise."""

from __future__ import annotations

import numpy as np
import torch
from ego_suite.cases import START, EgoCase
from ego_suite.latency import play, speed
from ego_suite.roller import Roller

from gpu_suite.task import Task, Tell, attempt
from vgen.ego.pipeline import EgoPipeline
from vgen.ego.rollout import RolloutSettings
from vgen.inference.settings import EgoSettings
from vgen.models import ModelInfo
from vgen.trajectory.layouts import find_layout
from vgen.trajectory.trajectory import Trajectory

PREFERRED = "position4"
ADVANCES, HORIZON = {False: (1, 4, 16), True: (4,)}, {False: 32, True: 4}
STEPS = {False: None, True: 1}  # None: the model's own


def run(task: Task, tell: Tell) -> None:
    """Tells of each advance "fps" and "first_frame_s"; the first rollout does not count."""
    pipe = EgoSettings(model=task.model).load(EgoPipeline)
    pipe.set_progress_bar_config(disable=True)
    case, roller = made_case(pipe), Roller(pipe, RolloutSettings(steps=STEPS[task.toy]))
    longest = pipe.config.default_frames - 1
    play(roller, case, ADVANCES[task.toy][0], 1)
    for advance in ADVANCES[task.toy]:
        if advance > longest or (advance > 1 and advance % pipe.temporal_stride):
            continue
        with attempt(tell, f"advance {advance}"):
            first, steps, memory = play(roller, case, advance, HORIZON[task.toy])
            fps, most = speed(steps, HORIZON[task.toy]), max(memory.values(), default=None)
            line = f"{task.model}, {advance} frames a step: {fps:.4g} frames/s, the first ones after {first:.3g} s"
            tell(f"advance {advance}", line, fps=fps, first_frame_s=first, memory_gb=most)


def made_case(pipe: EgoPipeline) -> EgoCase:
    """A recording of noise whose effector stands still."""
    ego = ModelInfo.of(pipe).ego
    assert ego is not None, "the pipeline has a front-end"
    layout = PREFERRED if PREFERRED in ego.layouts else next(iter(ego.layouts))
    reach, random = 64, np.random.default_rng(0)
    size = pipe.config.default_height, pipe.config.default_width
    video = torch.from_numpy(random.integers(0, 256, (3, START + 1 + reach, *size), dtype=np.uint8))
    rows = START + 1 + reach
    values = np.zeros((rows, len(find_layout(layout).columns)))
    trajectory = Trajectory(values, np.arange(rows) / ego.rate(layout), None, layout)
    return EgoCase("noise", "open the drawer", "", video, trajectory, reach, 0)
