"""What it brings to compile the blocks, as `objective.compile` does: a training step with and without."""

from __future__ import annotations

import time

import torch
from conditions_speed import Shape, wan

from gpu_suite.task import Task, Tell
from gpu_suite.timing import now, seconds_of
from vgen.backbone.segments import target
from vgen.backbone.transformer import VideoTransformer

FULL, TOY = Shape(wan(12, 128, 6, 8960), (5, 60, 104), 512), Shape(wan(2, 12, 2, 32, 16), (2, 4, 4), 8)
BACKENDS = {False: "inductor", True: "eager"}  # the latter needs no compiler, and traces as the former
STEPS = 5
ALLOWED = 0.1  # relative difference of gradients in bfloat16


def run(task: Task, tell: Tell) -> None:
    """Tells "eager" and "compiled"."""
    shape = TOY if task.toy else FULL
    torch.manual_seed(0)
    with torch.device(task.device):
        model = VideoTransformer(**shape.transformer).to(torch.bfloat16)
        latent, level = torch.randn(1, 16, *shape.latent), torch.full((1,), 0.5)
        text = torch.randn(1, shape.text, model.config.text_dim, dtype=torch.bfloat16)

    def step() -> None:
        model.zero_grad(set_to_none=True)
        model([target(latent, level)], text)[0].square().mean().backward()

    def gradient() -> torch.Tensor:
        return torch.cat([p.grad.flatten().float() for p in model.parameters() if p.grad is not None])

    eager = seconds_of(step, task.device, STEPS)
    tell("eager", f"eager: {1000 * eager:.4g} ms a step", seconds=eager)
    wanted = gradient()
    model.compile_repeated_blocks(dynamic=True, backend=BACKENDS[task.toy])  # as a recipe's compile: true
    began = time.perf_counter()
    step()
    compiling = now(task.device) - began
    compiled = seconds_of(step, task.device, STEPS)
    apart = float((gradient() - wanted).norm() / wanted.norm())
    line = f"compiled: {1000 * compiled:.4g} ms a step ({compiled / eager:.2f} x), first step {compiling:.3g} s"
    tell("compiled", f"{line}, gradients {apart:.2g} apart", seconds=compiled, first_step_s=compiling, apart=apart)
    assert apart < ALLOWED, f"gradients of compiled blocks are {apart:.2g} apart; {ALLOWED} is allowed"
