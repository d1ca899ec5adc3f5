"""How fast is a rollout, and what does it hold in memory?

One rollout of one recording, for each advance that the model allows: the time until the first step's frames are there
(with encoding the history and the sentence); frames per second at horizon 8 and at 200, of the steps that make the
eight frames up to there, with denoising, decoding and remembering; and the peak memory when it is there. On a CPU that
is the largest memory that the process has held, so this is measured first; on a GPU it is what its tensors take.
"""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from ego_suite.cases import EgoCase
from ego_suite.roller import Roller
from vgen.device import device_name, memory_gb
from vgen.ego.actions import TimedActions

ADVANCES = (1, 4, 16)
HORIZONS = (8, 200)


def measure(roller: Roller, case: EgoCase) -> dict:
    """{"device", "threads", "condition_attention", "advances": advance -> {"first_frame_s", "fps", "memory_gb",
    "fps_ratio"}}, by horizon; after one step that nobody times."""
    pipe = roller.pipe
    longest = pipe.config.default_frames - 1
    allowed = [a for a in ADVANCES if a <= longest and (a == 1 or a % pipe.temporal_stride == 0)]
    play(roller, case, allowed[0], 1)
    return {
        "device": device_name(pipe.transformer.device),
        "threads": torch.get_num_threads(),
        "condition_attention": "independent" if pipe.transformer.independent else "joint",
        "advances": {str(advance): _of(roller, case, advance) for advance in allowed},
    }


def _of(roller: Roller, case: EgoCase, advance: int) -> dict:
    first, ends, memory = play(roller, case, advance, HORIZONS[-1])
    fps = {horizon: speed(ends, horizon) for horizon in HORIZONS}
    return {
        "first_frame_s": first,
        "fps": {str(horizon): value for horizon, value in fps.items()},
        "fps_ratio": fps[HORIZONS[-1]] / fps[HORIZONS[0]],
        "memory_gb": {str(horizon): value for horizon, value in memory.items()},
    }


@torch.inference_mode()
def play(roller: Roller, case: EgoCase, advance: int, horizon: int) -> tuple[float, list[tuple[int, int, float]], dict]:
    """The time until the first frames, (first frame, last frame, seconds) of every step, and the memory in GB."""
    steps, memory, began = [], {}, time.perf_counter()
    with roller.precision():
        rollout, actions = roller.begin([case], replace(roller.settings, advance=advance))
        while rollout.now < horizon:
            now, at = rollout.now, time.perf_counter()
            rollout.step(_next(actions, now, advance)).cpu()
            steps.append((now + 1, rollout.now, time.perf_counter() - at))
            if now == 0:
                first = time.perf_counter() - began
            memory |= {h: memory_gb(roller.pipe.transformer.device) for h in HORIZONS if now < h <= rollout.now}
    return first, steps, memory


def _next(actions: TimedActions, now: int, advance: int) -> TimedActions:
    """The actions that follow; after the last one it is repeated."""
    arrivals = torch.arange(now + 1, now + 1 + advance)
    following = actions.steps((arrivals - 1).clamp(max=actions.arrivals.shape[1] - 1))
    return replace(following, arrivals=arrivals.to(actions.arrivals).expand_as(following.arrivals))


def speed(steps: list[tuple[int, int, float]], horizon: int) -> float:
    """Frames per second of the steps that make the eight frames up to a horizon, of what `play` gives."""
    near = [(last + 1 - first, seconds) for first, last, seconds in steps if last > horizon - 8 and first <= horizon]
    return sum(frames for frames, _ in near) / sum(seconds for _, seconds in near)
