"""The ego pipeline: a Wan folder with an `ego/` beside its transformer, as one diffusers pipeline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from diffusers import AutoencoderKLWan, SchedulerMixin
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor
from transformers import PreTrainedTokenizerBase, UMT5EncoderModel

from vgen.backbone.cache import ConditionCache
from vgen.backbone.known import Known, velocity_of
from vgen.backbone.pipeline import VideoPipeline
from vgen.backbone.segments import Segment
from vgen.backbone.transformer import VideoTransformer
from vgen.ego.adapter import EgoAdapter
from vgen.ego.injection import BoundActions
from vgen.errors import InputError
from vgen.models import EGO, MISSING, loading, resolve


class EgoPipeline(VideoPipeline):
    """Predicts the latents of frames ahead from known frames, a sentence and the actions that lead there.

    `vgen.ego.world.EgoWorld` is what most callers want: it keeps the history, and takes and gives pixels.

    Args:
        ego: the front-end's own weights; everything else is as in `VideoPipeline`.
    """

    _exclude_from_cpu_offload: ClassVar[list[str]] = ["ego"]  # small, and not called by a forward, which would bring it

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        text_encoder: UMT5EncoderModel,
        vae: AutoencoderKLWan,
        transformer: VideoTransformer,
        scheduler: SchedulerMixin,
        ego: EgoAdapter,
        default_steps: int = 50,
        default_guidance: float = 7.5,
        default_frames: int = 77,
        default_height: int = 384,
        default_width: int = 672,
        default_prompt: str = "",
    ) -> None:
        super().__init__(
            tokenizer,
            text_encoder,
            vae,
            transformer,
            scheduler,
            default_steps,
            default_guidance,
            default_frames,
            default_height,
            default_width,
            default_prompt,
        )
        self.register_modules(ego=ego)

    @classmethod
    def from_pretrained(cls, model: str | PathLike[str], **kwargs: Any) -> Self:
        """Loads "nano" or a local folder; keywords as in diffusers.

        Raises:
            InputError: there is no such model, or it has no ego front-end.
        """
        if "ego" not in kwargs:
            folder = resolve(model)
            if Path(folder).is_dir() and not Path(folder, EGO).is_dir():
                raise InputError(f"model {str(model)!r} has {MISSING[EGO]}")
            with loading(model):
                kwargs["ego"] = EgoAdapter.from_pretrained(
                    folder, subfolder=EGO, torch_dtype=kwargs.get("dtype", kwargs.get("torch_dtype"))
                )
        pipe = super().from_pretrained(model, **kwargs)
        if (paradigm := pipe.transformer.config.paradigm) != "in_context":
            rule = "the ego front-end conditions in context; use a model that was trained so"
            raise InputError(f"model {str(model)!r} is trained with paradigm={paradigm}: {rule}")
        return pipe

    def to_json_string(self) -> str:
        """The pipeline's index without the ego front-end, so that diffusers opens the folder by itself."""
        index = json.loads(super().to_json_string())
        return json.dumps({key: value for key, value in index.items() if key != "ego"}, indent=2, sort_keys=True) + "\n"

    @torch.no_grad()
    def predict(
        self,
        conditions: Sequence[Segment],
        text: Tensor,
        t: Tensor,
        size: tuple[int, int],
        *,
        actions: BoundActions | None = None,
        without: BoundActions | None = None,
        guidance: float = 1.0,
        cache: ConditionCache | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        steps: int | None = None,
    ) -> Tensor:
        """Latents of frames ahead: [B, C, F, h, w].

        Args:
            conditions: known frames, batch of B; with a cache, those that are not in it.
            text: embeddings [B, Lt, D] of the sentences.
            t: [B, F] float64, where the target's latent frames lie, in latent units.
            size: (H, W) of a frame.
            actions: what leads there; None for a model that is to go on by itself.
            without, guidance: the same with its actions dropped, for classifier-free guidance over actions:
                u + w·(c - u). At 1 it is not used.
            cache: remembered conditions.
            steps: of denoising; the model's default when None.
        """
        batch, frames = t.shape
        shape = (batch, self.codec.channels, frames, *(side // self.strides.spatial for side in size))
        known = Known.of_text(self.transformer, text, conditions, cache, remember=self.remembers_conditions)
        told = [replace(known, adapter=adapter) for adapter in ([actions] if guidance == 1 else [actions, without])]
        velocity = velocity_of(self.transformer, told, guidance, t)
        noise = randn_tensor(shape, generator, self._execution_device, torch.float32)
        return self.denoise(noise, velocity, steps)
