"""The model under test, and its codec, behind three batched calls from videos to videos."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from canvas_suite.reconstruction import Reconstruction
from canvas_suite.tasks import Given
from vgen.backbone.codec import WanCodec
from vgen.backbone.encoding import Given as GivenFrames
from vgen.canvas.keep import KeptFrame, keep_given
from vgen.canvas.paradigms import choose_paradigm
from vgen.canvas.pipeline import CanvasPipeline


class Sampler(Reconstruction):
    """A pipeline with fixed settings.

    Args:
        pipe: The pipeline.
        codec: The pipeline's own.
        steps: Steps of its scheduler.
        guidance: Scale of classifier-free guidance on the text; 1 is without.
        batch: Videos that go through the model, or the codec, at once.
        bf16: Computes matrix products in bfloat16, where the device can, over the weights as they are.
        keep: "exact" puts what is given back into the videos, as `vgen.canvas.keep` does.
    """

    def __init__(
        self,
        pipe: CanvasPipeline,
        codec: WanCodec,
        steps: int,
        guidance: float,
        batch: int,
        bf16: bool = False,
        keep: str = "model",
    ) -> None:
        super().__init__(codec, batch, bf16)
        self.pipe, self.steps, self.guidance, self.keep = pipe, steps, guidance, keep

    def complete(self, given: Given, prompts: Sequence[str], length: int, seeds: Sequence[int]) -> Tensor:
        """Videos `[B, 3, T, H, W]` in [-1, 1] that complete what is given.

        Every sample draws its noise from its own seed, so a result does not depend on the batch it came in.
        """
        starts = range(0, len(prompts), self.batch)
        with self.precision():
            parts = [self._complete(given, prompts, length, seeds, slice(s, s + self.batch)) for s in starts]
        videos = torch.cat(parts)
        return _kept(videos, given) if self.keep == "exact" else videos

    def _complete(self, given: Given, prompts: Sequence[str], length: int, seeds: Sequence[int], part: slice) -> Tensor:
        height, width = given.pixels.shape[-2:]
        paradigm = choose_paradigm(self.pipe.transformer.config.paradigm)
        padding = self.pipe.transformer.config.condition_padding
        frames = GivenFrames(given.pixels[part], given.masks[part], given.frames[part], padding=padding)
        shape = self.pipe.latent_shape(len(prompts[part]), length, height, width)
        return self.pipe.sample(
            paradigm.conditioning(self.codec, [frames], shape),
            prompts[part],
            frames=length,
            height=height,
            width=width,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds[part]],
            num_inference_steps=self.steps,
            guidance_scale=self.guidance,
        ).cpu()


def _kept(videos: Tensor, given: Given) -> Tensor:
    """Videos `[B, 3, T, H, W]` with what is given of each put back."""
    kept = []
    for video, pixels, masks, frames in zip(videos, given.pixels, given.masks.float(), given.frames, strict=True):
        order = frames.argsort().tolist()
        kept.append(keep_given(video, [KeptFrame(int(frames[k]), pixels[k], masks[k]) for k in order])[0])
    return torch.stack(kept)
