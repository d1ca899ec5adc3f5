"""A way to nano without weights: models of the stages' shapes, and what a step of each computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode
from transformers import UMT5EncoderModel

from vgen.backbone.segments import condition, target
from vgen.data.buckets import Bucket
from vgen.models import resolve
from vgen.reproduce.profile import TRAINED, Profile
from vgen.reproduce.recipes import model_of, read_stage, start_of
from vgen.reproduce.weights import INDEX
from vgen.train.config import TrainConfig
from vgen.train.objectives import objective_class
from vgen.train.objectives.base import Objective
from vgen.train.objectives.codec import CodecBatch, CodecObjective
from vgen.train.objectives.denoiser import VideoDenoiser
from vgen.train.objectives.ego import EgoObjective
from vgen.train.objectives.outline import Tokens
from vgen.train.objectives.state import StateObjective
from vgen.train.objectives.video import VideoObjective

SIZE = 128  # pixels of a side where the data are not there to tell
STATE_TOKENS = 160  # about, of a window of Stage I: frames, actions and text
META = torch.device("meta")


@dataclass(frozen=True)
class Cost:
    """What is computed: floating point operations, and bytes that are kept for the backward pass, in float32."""

    backbone: float = 0.0
    codec: float = 0.0
    kept: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.backbone + other.backbone, self.codec + other.codec, self.kept + other.kept)

    def times(self, count: float) -> Cost:
        """The same for so many samples."""
        return Cost(self.backbone * count, self.codec * count, self.kept * count)


@dataclass(frozen=True)
class Stage:
    """A stage that trains, on paper.

    Attributes:
        config: of its run.
        objective: built on paper.
        step: of a step on one rank, on average; what it keeps, at most.
        clips: how many are encoded before the first step, at most ...
        open_sets: ... without those of so many data sets of which all clips are taken, one after another.
        latents: bytes of their latents.
    """

    config: TrainConfig
    objective: Objective[Any]
    step: Cost
    clips: int
    open_sets: int
    latents: float


def stages_on_paper(profile: Profile, out: Path) -> dict[str, Stage]:
    """All stages that train.

    Args:
        out: a scratch folder; configuration files of the models are written into it.

    Raises:
        InputError: a recipe would be refused.
    """
    found = {}
    for stage in (name for name in TRAINED if name in profile.stages):
        if profile.start:
            _link_start(Path(resolve(profile.start)), start_of(out, stage))
        config = read_stage(profile, out, stage)
        with META:
            objective: Objective[Any] = objective_class(config.objective.name)(config.objective, config.seed)
        found[stage] = Stage(config, objective, _step(objective), *_encoded_before(objective))
        _write_shapes(objective, out, stage)
    return found


def _link_start(start: Path, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not folder.exists():
        folder.symlink_to(start.resolve())


def _write_shapes(objective: Objective[Any], out: Path, stage: str) -> None:
    """Writes the configuration files of what a stage trains where the next one looks for its model."""
    if isinstance(objective, CodecObjective):
        objective.vae.save_config(model_of(out, stage) / "vae")
    elif isinstance(objective, VideoObjective) and not start_of(out, "hand").exists():
        folder, model = start_of(out, "hand"), objective.denoiser
        for name in ("vae", "transformer", "scheduler"):
            getattr(model, name).save_config(folder / name)
        model.tokenizer.save_pretrained(folder / "tokenizer")
        if isinstance(model.text_encoder, UMT5EncoderModel):
            model.text_encoder.config.save_pretrained(folder / "text_encoder")
        (folder / INDEX).write_text("{}")


def _step(objective: Objective[Any]) -> Cost:
    """Of a step."""
    if isinstance(objective, CodecObjective):
        config = objective.config
        images = config.image_share + (1 - config.image_share) * config.image_probability
        clips = _codec_loss(objective, max(objective.lengths)).times(config.clips_per_batch)
        stills = _codec_loss(objective, 1).times(config.images_per_batch)
        mean = clips.times(1 - images) + stills.times(images)
        return replace(mean, kept=max(clips.kept, stills.kept))
    if isinstance(objective, VideoObjective):
        model, bucket = objective.denoiser, Bucket(SIZE, SIZE, max(objective.canvases.lengths))
        step = _batch(model, bucket, objective.canvases.clip_tokens(bucket), objective.config.batch)
        if isinstance(objective, EgoObjective):
            clip = replace(bucket, frames=objective.body_lengths[0])
            own = _batch(model, clip, objective.clip_tokens(clip), objective.config.ego_batch)
            step += own.times(1 + _share(objective))
        return step
    assert isinstance(objective, StateObjective), "no other objective is a stage"
    weights = sum(p.numel() for p in objective.model.parameters())
    return Cost(backbone=6 * weights * STATE_TOKENS * objective.config.batch)


def _encoded_before(objective: Objective[Any]) -> tuple[int, int, float]:
    """How many clips are encoded, of how many data sets that is not said, and the bytes of the latents."""
    if not isinstance(objective, VideoObjective):
        return 0, 0, 0.0
    config, vae = objective.config, objective.denoiser.vae
    frames = max(objective.canvases.lengths)
    counts = [config.clips, *(more.clips for more in config.more_data)]
    counts += [body.clips for body in getattr(config, "bodies", [])]
    clips = sum(count or 0 for count in counts)
    latent = objective.denoiser.strides.latent(frames, SIZE, SIZE)
    size = 2 * vae.config.z_dim * latent.frames * latent.height * latent.width
    return clips, counts.count(None), float(clips * size)


def _share(objective: EgoObjective) -> float:
    """What the ego front-end computes beside the backbone, by its weights."""
    own, backbone = (sum(p.numel() for p in part.parameters()) for part in (objective.ego, objective.transformer))
    return float(own / backbone)


def _codec_loss(objective: CodecObjective, frames: int) -> Cost:
    """Of the forward and backward pass of a codec on one clip."""
    video = torch.zeros(2, 3, frames, SIZE, SIZE, dtype=torch.uint8, device=META)
    operations, kept = _counted(lambda: objective(CodecBatch(["", ""], video))[0])
    return Cost(codec=operations / 2, kept=kept / 2)


def _batch(model: VideoDenoiser, bucket: Bucket, tokens: Tokens, count: int) -> Cost:
    """Of the backbone's forward and backward pass on so many clips, and of the encoding of their conditions."""
    area = model.strides.latent(bucket.frames, *bucket.size).frame_tokens
    mean, most = (_backbone(model, bucket, given / area) for given in (tokens.given, tokens.most_given))
    conditions = _encoding(model.vae, 1).times(tokens.given / area)
    return replace(mean + conditions, kept=most.kept).times(count)


def _backbone(model: VideoDenoiser, bucket: Bucket, known: float) -> Cost:
    """Of the backbone's forward and backward pass on one clip with so many latent frames of conditions."""
    shape, config = model.strides.latent(bucket.frames, *bucket.size), model.transformer.config
    frames, side = max(1, round(known)), (shape.height, shape.width)
    given = condition(_zeros(1, config.in_channels, frames, *side), _zeros(1, frames, dtype=torch.float64))
    asked = target(_zeros(1, config.in_channels, shape.frames, *side), _zeros(1), None)
    text = _zeros(1, model.text_tokens, config.text_dim)
    operations, kept = _counted(lambda: model.transformer([given, asked], text)[0])
    return Cost(backbone=operations, kept=kept)


def _encoding(vae: AutoencoderKLWan, frames: int) -> Cost:
    """Of the encoding of a clip of so many frames."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        vae.encode(_zeros(1, 3, frames, SIZE, SIZE))
    return Cost(codec=float(counter.get_total_flops()))


def _counted(run: Callable[[], Tensor]) -> tuple[float, float]:
    """Operations of a forward pass and its backward pass, and the bytes that the one keeps for the other."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            storage = tensor.untyped_storage()
            kept[storage._cdata] = storage.nbytes()
        return tensor

    with FlopCounterMode(display=False) as counter, saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = run()
        total = float(sum(kept.values()))
        torch.autograd.backward(loss.sum())
    return float(counter.get_total_flops()), total


def _zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.zeros(shape, dtype=dtype, device=META)
