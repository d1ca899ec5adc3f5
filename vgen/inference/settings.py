"""How a model is run, whatever for: which one, with what it is loaded, and what this machine can do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Self, get_args

import torch

from vgen import checks
from vgen.backbone.conditioning import ParadigmName
from vgen.backbone.precision import DTYPES
from vgen.canvas.extend import MAX_TOTAL
from vgen.errors import InputError, unknown_key
from vgen.models import is_hub_id

if TYPE_CHECKING:
    from vgen.backbone.load import Pipeline

SCHEDULERS = ("euler", "unipc", "dpm++")
MAX_ADVANCE, MAX_WINDOW = 1024, 256  # frames
OFFLOADS = ("none", "model", "sequential")
# Of each attention kernel, the package that brings it to CUDA devices; None comes with torch and runs anywhere.
ATTENTIONS = {"native": None, "flex": None, "xformers": "xformers", "flash": "flash_attn", "sage": "sageattention"}


@dataclass(frozen=True)
class RunSettings:
    """What every command takes of a model.

    Attributes:
        model: "nano", a diffusers folder or a hub id.
        lora: A LoRA file, folder or hub id, of any naming that `vgen.backbone.lora` reads.
        steps: Denoising steps; None is the model's own choice.
        guidance: Classifier-free guidance, 1 is none; None is the model's own choice.
        scheduler: "euler", "unipc" or "dpm++"; None is the model's own.
        attention: "native", "xformers", "flash", "sage" or "flex".
        offload: What waits in the CPU's memory: "none", a "model" not in use, or "sequential", every layer.
        dtype: "fp32", "bf16" or "fp16"; "auto" is bf16 on an accelerator and fp32 on the CPU.

    Raises:
        InputError: a value breaks its rule.
    """

    model: str = "nano"
    lora: str | None = None
    steps: int | None = None
    guidance: float | None = None
    scheduler: str | None = None
    attention: str = "native"
    offload: str = "none"
    dtype: str = "auto"

    def __post_init__(self) -> None:
        checks.text("model", self.model)
        if self.lora is not None:
            checks.text("lora", self.lora)
        if self.steps is not None:
            checks.whole("steps", self.steps, 1, 1000)
        if self.guidance is not None:
            checks.real("guidance", self.guidance, 0, 100)
        if self.scheduler is not None:
            checks.choice("scheduler", self.scheduler, SCHEDULERS)
        checks.choice("attention", self.attention, ATTENTIONS)
        checks.choice("offload", self.offload, OFFLOADS)
        checks.choice("dtype", self.dtype, ("auto", *DTYPES))

    def check_machine(self) -> None:
        """Refuses what this machine cannot do, before anything is loaded.

        Raises:
            InputError: it names what can be done.
        """
        if self.lora is not None and not os.path.exists(self.lora) and not is_hub_id(self.lora):
            raise InputError(f"lora={checks.show(self.lora)} is no file, no folder and no hub id as owner/name")
        if refusal := attention_refusal(self.attention):
            raise InputError(f"attention={self.attention} {refusal}")
        if self.offload != "none" and not torch.cuda.is_available():
            raise InputError(f"offload={self.offload} needs an accelerator to load to and there is none; use none")

    def load(self, kind: type[Pipeline]) -> Pipeline:
        """The model that is named, as a pipeline of this class, with its LoRA, scheduler, attention, offload and dtype.

        Raises:
            InputError: it cannot be loaded.
        """
        from vgen.backbone.load import load_pipeline  # late: with diffusers, which takes seconds

        return load_pipeline(
            kind,
            self.model,
            lora=self.lora,
            scheduler=self.scheduler,
            attention=self.attention,
            offload=self.offload,
            dtype=self.dtype,
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `dataclasses.asdict`.

        Raises:
            InputError: a key is unknown or a value breaks its rule.
        """
        known = [field.name for field in fields(cls)]
        for key in data:
            if key not in known:
                raise unknown_key(key, known, "the settings")
        return cls(**data)


@dataclass(frozen=True)
class CanvasSettings(RunSettings):
    """All but the canvas that decides on a completed video; what `vgen infer` takes. The guidance is that of the text.

    Attributes:
        extend_to: frames of the whole video, made segment by segment; None is one pass over the canvas.
        loop: closes the extended video on its beginning.
        paradigm: by which way patches reach the model, see `vgen.canvas.paradigms`; None is the model's own.

    Raises:
        InputError: a value breaks its rule.
    """

    extend_to: int | None = None
    loop: bool = False
    paradigm: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.extend_to is not None:
            checks.whole("--extend-to", self.extend_to, 1, MAX_TOTAL)
        if self.loop and self.extend_to is None:
            raise InputError("--loop needs --extend-to; or put one image at frames 0 and -1 of the canvas")
        if self.paradigm is not None:
            checks.choice("paradigm", self.paradigm, get_args(ParadigmName))


@dataclass(frozen=True)
class EgoSettings(RunSettings):
    """All but what is asked that decides on a rollout; what `vgen rollout` takes. The guidance is that of the actions.

    Attributes:
        advance: pixel frames per step of the rollout: 1, or a multiple of the codec's temporal stride.
        window: how many past frames are conditions; as many as the model was trained with, when None.

    Raises:
        InputError: a value breaks its rule.
    """

    advance: int = 4
    window: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.whole("advance", self.advance, 1, MAX_ADVANCE)
        if self.window is not None:
            checks.whole("window", self.window, 1, MAX_WINDOW)


def attention_refusal(name: str) -> str:
    """Why an attention kernel of `ATTENTIONS` cannot run on this machine, and what to do; "" where it can."""
    package = ATTENTIONS[name]
    if package and not torch.cuda.is_available():
        return "has kernels for CUDA devices only and there is none; use native"
    if package and find_spec(package) is None:
        return f"needs the package {package}; install it, or use native"
    return ""
