"""What the canvas and the ego objective share: one video model, the canvases it completes, its samples and export."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from vgen.backbone.encoding import IMAGES_AT_ONCE
from vgen.canvas.pipeline import CanvasPipeline
from vgen.canvas.placed import PlacedCanvas, place
from vgen.canvas.prompt import read_prompt
from vgen.canvas.report import contact_sheet
from vgen.canvas.spec import Canvas
from vgen.media import pyav
from vgen.models import TrainingRange, forget_places
from vgen.notices import warn_once
from vgen.train.lora import save_lora
from vgen.train.objectives.base import AnyBatch, Objective
from vgen.train.objectives.canvases import CanvasConfig, Canvases
from vgen.train.objectives.denoiser import VideoDenoiser
from vgen.train.objectives.outline import Outline
from vgen.train.objectives.trained_on import range_after, range_before, range_of_clips

logger = logging.getLogger(__name__)


class VideoObjective(Objective[AnyBatch]):
    """An objective that trains a video model, and draws canvases with it.

    Attributes:
        denoiser: the model, whose trained and frozen parts are this module's children.
        canvases: what it learns to complete.
        prompts: of samples, and of what else is embedded before the training.
        trained_on: what goes with the model, once `prepare` has opened the data.
    """

    def __init__(self, config: CanvasConfig, seed: int) -> None:
        super().__init__()
        self.config, self.seed = config, seed
        self.prompts: set[str] = set()
        torch.manual_seed(seed)
        self.denoiser = VideoDenoiser.build(config)
        # The order of these children is that of the weights in a checkpoint.
        self.vae, self.text_encoder = self.denoiser.vae, self.denoiser.text_encoder
        self.transformer = self.denoiser.transformer
        self.canvases = Canvases(config, self.denoiser, seed)

    def outline(self) -> Outline:
        """What a dry run has to know of the model and its clips."""
        config, canvases = self.config, self.canvases
        most = max(canvases.given_frames(max(canvases.lengths)))
        return Outline(
            self.parts(),
            config.data,
            canvases.lengths,
            self.denoiser.strides.multiple,
            config.batch,
            clips=config.clips,
            cached=self.denoiser.cached(),
            backbone=self.transformer.config,
            checkpointing=config.activation_checkpointing,
            tokens=canvases.clip_tokens,
            text_tokens=self.denoiser.text_tokens,
            images=min(IMAGES_AT_ONCE, most * config.batch),
        )

    def prepare(self) -> None:
        """Opens the data, encodes the clips, and embeds all captions where the text encoder is frozen."""
        self.canvases.open(self.bad_data)
        self.denoiser.prepare_texts([*self.canvases.captions, *self.prompts], self.config)
        before = range_before(self.config)
        self.trained_on = range_after(self.config, before, self.own_range(before))

    def own_range(self, before: TrainingRange | None) -> TrainingRange:
        """What this run trains on; `before` is what the model that it began from was trained on."""
        return range_of_clips([each.data.train for each in self.canvases.sets], self.config.conditions)

    def data_summary(self) -> str:
        """What of the data could not be used, in one line."""
        return "; ".join(filter(None, (each.data.bad.summary() for each in self.canvases.sets)))

    def split_sequence(self, size: int) -> None:
        """Lets neighbouring ranks share the tokens of a sample, within the transformer."""
        self.transformer.split_sequence(size)

    def exported(self) -> Iterable[nn.Parameter]:
        """The weights that `export` writes: all of them; with a LoRA, those that it trains."""
        weights = self.parameters()
        return (weight for weight in weights if weight.requires_grad) if self.config.lora.rank else weights

    def export(self, folder: Path) -> None:
        """Writes the whole pipeline, a Wan folder of diffusers; with a LoRA, its weights and the index alone."""
        if self.config.lora.rank:
            save_lora(self.transformer, folder)
        else:
            self.denoiser.save_components(folder)
        self.pipeline().save_config(folder)
        forget_places(folder)
        self.trained_on.write(folder)

    def read_sample(self, spec: str, overrides: Mapping[str, Any]) -> PlacedCanvas:
        """The canvas of a spec file, with its media, which may go later; its prompts are embedded, as captions are. Its
        prompt is read as it is: which words the captions have is not known yet.

        Raises:
            InputError: it cannot be read, or does not fit the model.
        """
        canvas = Canvas.from_yaml(spec, **overrides)
        strides = self.denoiser.strides
        placed = place(canvas, strides.temporal, strides.multiple)
        placed = placed.with_prompt(read_prompt(placed, self.config.default_prompt))
        self.prompts |= {placed.prompt, canvas.negative_prompt}
        return placed

    def draw(self, sample: PlacedCanvas, steps: int | None, after_step: Callable[[], None]) -> np.ndarray:
        """The video uint8 [T, H, W, 3] that completes a canvas, with the weights held now."""

        def ended(*_: object) -> dict[str, Any]:
            after_step()
            return {}

        pipe = self.pipeline()
        pipe.set_progress_bar_config(disable=True)
        return pipe(sample, num_inference_steps=steps, callback_on_step_end=ended).video

    def write_sample(self, sample: PlacedCanvas, video: np.ndarray, folder: Path) -> None:
        """Writes video.mp4 and contact_sheet.png of what `draw` drew; without PyAV, the sheet alone."""
        if pyav.is_installed():
            from vgen.media.writing import write_video

            write_video(folder / "video.mp4", video, sample.fps)
        else:
            warn_once(logger, "samples are written without video.mp4, as PyAV is not installed: pip install av")
        contact_sheet(video, sample, folder / "contact_sheet.png")

    def pipeline(self) -> CanvasPipeline:
        """The model as it is used; its default size is that of most clips."""
        most = self.canvases.most_common
        return self.denoiser.pipeline(self.config, most.size, most.frames)
