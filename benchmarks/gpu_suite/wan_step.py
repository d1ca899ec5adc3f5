"""A training step at the size of Wan 2.1 1.3B with random weights: tokens per second, share of the peak, memory.

Parts: "kept" and "checkpointed" run forward and backward over bf16 weights, with all activations kept or computed
again; "recipe" is a step as vgen's recipes take it: float32 weights under autocast, checkpointed, with AdamW."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from conditions_speed import Shape, wan

from gpu_suite.task import Task, Tell
from gpu_suite.timing import forget_peak, peak_gb, seconds_of
from vgen.backbone.precision import autocast
from vgen.backbone.segments import target
from vgen.backbone.transformer import VideoTransformer

PARTS = ("kept", "checkpointed", "recipe")
DATASHEET_TFLOPS = 989.0  # of an H100 SXM in bfloat16, without sparsity
LATENTS = [(5, 60, 104), (5, 30, 52), (2, 30, 52)]  # of 17 frames 480x832, and less where that does not fit
FULL, TOY = Shape(wan(12, 128, 30, 8960), (0, 0, 0), 512), Shape(wan(2, 12, 2, 32, 16), (0, 0, 0), 8)
STEPS = 3


def run(task: Task, tell: Tell) -> None:
    """Tells the part, at the largest latent that fits."""
    shape = TOY if task.toy else FULL
    model = build(shape, task)
    tried = [(2, 4, 4)] if task.toy else LATENTS
    for latent in tried:
        forget_peak(task.device)
        try:
            seconds = seconds_of(step_of(model, shape, latent, task), task.device, STEPS)
        except torch.OutOfMemoryError:
            tell(f"{task.part} {latent}", f"{task.part}: a latent of {latent} does not fit", fits=False)
            if latent == tried[-1]:
                raise
            continue
        line, values = described(task, shape, latent, seconds)
        tell(task.part, line, **values)
        return


def build(shape: Shape, task: Task) -> VideoTransformer:
    """The transformer with random weights, made where it computes."""
    torch.manual_seed(0)
    with torch.device(task.device):
        model = VideoTransformer(**shape.transformer)
    if task.part != "recipe":
        model.to(torch.bfloat16)
    if task.part != "kept":
        model.enable_gradient_checkpointing()
    return model.train()


def step_of(model: VideoTransformer, shape: Shape, latent: tuple[int, int, int], task: Task) -> Callable[[], None]:
    """One step of training on random latents, with an optimiser where the part has one."""
    recipe, device = task.part == "recipe", task.device
    config, clean = model.config, torch.randn(1, 16, *latent, device=device)
    noise, level = torch.randn_like(clean), torch.full((1,), 0.5, device=device)
    text = torch.randn(1, shape.text, config.text_dim, device=device, dtype=model.dtype)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True) if recipe else None

    def step() -> None:
        model.zero_grad(set_to_none=True)
        with autocast(device, recipe):
            velocity = model([target((clean + noise) / 2, level)], text)[0]
            loss = (velocity.float() - (noise - clean)).square().mean()
        loss.backward()
        if optimizer is not None:
            optimizer.step()

    return step


def described(task: Task, shape: Shape, latent: tuple[int, int, int], seconds: float) -> tuple[str, dict[str, Any]]:
    """A line and the values of a step that took so many seconds."""
    frames, height, width = latent
    tokens = frames * (height // 2) * (width // 2)
    tflops = training_flops(shape, tokens) / seconds / 1e12
    values = {
        "latent": latent,
        "tokens": tokens,
        "seconds": seconds,
        "tokens_per_s": tokens / seconds,
        "tflops": tflops,
        "mfu_of_datasheet": tflops / DATASHEET_TFLOPS,
        "mfu_of_measured": tflops / task.known["tflops"] if "tflops" in task.known else None,
        "memory_gb": peak_gb(task.device),
    }
    shares = f"{100 * values['mfu_of_datasheet']:.1f} % of {DATASHEET_TFLOPS:.0f}"
    if values["mfu_of_measured"] is not None:
        shares += f", {100 * values['mfu_of_measured']:.1f} % of the matrix product here"
    line = (
        f"{task.part}: {tokens} tokens of {latent}, {seconds:.3g} s a step, {tokens / seconds:.4g} tokens/s, "
        f"{tflops:.3g} TFLOP/s ({shares}), {values['memory_gb']:.1f} GB"
    )
    return line, values


def training_flops(shape: Shape, tokens: int) -> float:
    """Floating point operations of a step that the model asks for: three times those of its forward pass, without what
    checkpointing computes again. The embedding of the diffusion time, once a sample, is left out."""
    config, text = shape.transformer, shape.text
    width = config["num_attention_heads"] * config["attention_head_dim"]
    patch = config["in_channels"] * 4
    attended = 4 * width * tokens + 2 * tokens * tokens  # products with weights; scores and their values
    told = 2 * width * (tokens + text) + 2 * tokens * text  # by the text: keys and values are of the text
    fed = 2 * config["ffn_dim"] * tokens
    blocks = config["num_layers"] * width * (attended + told + fed)
    ends = width * (2 * patch * tokens + (config["text_dim"] + width) * text)
    return 3 * 2.0 * (blocks + ends)
