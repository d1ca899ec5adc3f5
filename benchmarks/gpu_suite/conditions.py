"""What conditions cost a step at the size of Wan 2.1 1.3B: joint attention beside remembered conditions."""

from __future__ import annotations

import torch
from conditions_speed import SHAPES, Bench, Turn

from gpu_suite.task import Task, Tell, attempt
from gpu_suite.timing import forget_peak

COUNTS = {False: (0, 20, 40, 77), True: (0, 3)}
DTYPES = {False: torch.bfloat16, True: torch.float32}


def run(task: Task, tell: Tell) -> None:
    """Tells a finding of each attention and number of conditions, of one step each."""
    bench = Bench(SHAPES["tiny" if task.toy else "wan2.1-1.3b"](), DTYPES[task.toy], torch.device(task.device))
    without: dict[str, Turn] = {}
    for count in COUNTS[task.toy]:
        for attention in bench.ways:
            name = f"{attention} {count}"
            forget_peak(task.device)
            with attempt(tell, name):
                turn = bench.turn(attention, count, 1)
                ratio = turn.step / without.setdefault(attention, turn).step
                memory = "" if turn.memory_gb is None else f", {turn.memory_gb:.1f} GB"
                once = f", remembering them once {turn.once:.3g} s" if turn.once else ""
                line = f"{attention}, {count} conditions: {turn.step:.3g} s a step ({ratio:.2f} x){once}{memory}"
                tell(name, line, step_s=turn.step, once_s=turn.once, ratio=ratio, memory_gb=turn.memory_gb)
