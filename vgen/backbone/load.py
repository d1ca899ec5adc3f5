"""Loads a model as a pipeline, ready to run on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import diffusers
import torch

from vgen.backbone.lora_files import read_lora
from vgen.backbone.pipeline import VideoPipeline
from vgen.backbone.precision import DTYPES

Pipeline = TypeVar("Pipeline", bound=VideoPipeline)


def load_pipeline(
    kind: type[Pipeline],
    model: str,
    *,
    lora: str | None = None,
    scheduler: str | None = None,
    attention: str = "native",
    offload: str = "none",
    dtype: str = "auto",
) -> Pipeline:
    """Loads a model as a pipeline of that kind and makes it ready to run.

    Args:
        kind: of pipeline.
        model, lora, scheduler, attention, offload, dtype: as in `vgen.inference.settings.RunSettings`, which checks
            that this machine can do it.

    Raises:
        InputError: the model or LoRA cannot be loaded.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = ("bf16" if device == "cuda" else "fp32") if dtype == "auto" else dtype
    read = None if lora is None else read_lora(lora)  # first: a large model takes minutes to load
    pipe = kind.from_pretrained(model, dtype=DTYPES[dtype])
    if scheduler is not None:
        pipe.scheduler = _scheduler(scheduler, pipe.scheduler.config)
    if read is not None:
        pipe.load_lora_weights(read)
    if offload == "model":
        pipe.enable_model_cpu_offload()
    elif offload == "sequential":
        pipe.enable_sequential_cpu_offload()
    else:
        pipe.to(device)
    if attention != "native":  # which it is from the start
        pipe.transformer.set_attention_backend(attention)
    return pipe


def _scheduler(name: str, config: Mapping[str, Any]) -> Any:
    """A scheduler for flow matching, with the time shift of the model's own."""
    shift = config.get("shift", config.get("flow_shift", 1.0))
    if name == "euler":
        return diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    solver = {"unipc": diffusers.UniPCMultistepScheduler, "dpm++": diffusers.DPMSolverMultistepScheduler}[name]
    return solver(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift)
