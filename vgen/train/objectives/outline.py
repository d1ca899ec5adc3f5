"""What a run would hold, from configuration files alone: models on torch's meta device, which have no weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from torch import nn
from transformers import UMT5Config, UMT5EncoderModel

from vgen.backbone.encoding import IMAGES_AT_ONCE
from vgen.backbone.shapes import Strides, check_frames, latent_frames
from vgen.backbone.text import WAN_TEXT_LENGTH
from vgen.backbone.transformer import VideoTransformer
from vgen.canvas.placed import place
from vgen.canvas.spec import Canvas
from vgen.data.buckets import Bucket
from vgen.data.opening import DataConfig, parse_lengths
from vgen.ego.adapter import EgoAdapter
from vgen.errors import InputError, unknown_key
from vgen.models import EGO, read_config, resolve
from vgen.train.lora import add_lora
from vgen.train.objectives.base import refuse_sample
from vgen.train.objectives.bodies import body_shares
from vgen.train.objectives.ego_data import front_end
from vgen.train.objectives.plans import Plan, check_plans, draw_plan

if TYPE_CHECKING:
    from vgen.train.objectives.canvas import CanvasConfig
    from vgen.train.objectives.codec import CodecConfig
    from vgen.train.objectives.ego import EgoConfig

NO_CANVAS = "objective.pretrained: the ego front-end needs a trained canvas model; name its folder"
DRAWS = 500  # plans from which the number of conditions is told


@dataclass(frozen=True)
class Tokens:
    """Of one clip, what the backbone reads: `target` tokens, and those of its conditions, on average and at most."""

    target: int
    given: float
    most_given: int

    @property
    def most(self) -> int:
        """Of the clip with the most conditions."""
        return self.target + self.most_given


@dataclass(frozen=True)
class BodyOutline:
    """Clips of a body, of which a step may hold a batch beside the run's own.

    Attributes:
        layout: of its trajectory.
        data, clips, batch, tokens: as of an outline.
        share: the chance of a batch to be of this body.
    """

    layout: str
    data: DataConfig
    clips: int | None
    batch: int
    share: float
    tokens: Callable[[Bucket], Tokens]


@dataclass(frozen=True)
class Outline:
    """A run without its weights.

    Attributes:
        parts: the modules of each component that training holds, on the meta device; `requires_grad` as in training.
        cached: parameters of each component whose answers are cached, so that training does not hold it.
        data: what it reads.
        lengths, multiple, captions: see `open_data`.
        clips: how many are cut; None: one after another (`all_places`: at every frame where one may start).
        batch: clips per rank and batch.
        backbone: whose activations are estimated; None where none can be.
        checkpointing: whether the backbone's blocks are computed again in the backward pass.
        tokens: what a clip of a bucket means for the backbone.
        text_tokens: that the backbone reads with each clip.
        images: pixels of these many frames are encoded at once during training.
        bodies: of an ego run.
        read_sample: as the objective's.
    """

    parts: dict[str, nn.Module]
    data: DataConfig
    lengths: list[int]
    multiple: int
    batch: int
    captions: bool = True
    clips: int | None = None
    all_places: bool = False
    cached: dict[str, int] = field(default_factory=dict)
    backbone: Mapping[str, Any] | None = None
    checkpointing: bool = False
    tokens: Callable[[Bucket], Tokens] | None = None
    text_tokens: int = 0
    images: int = 0
    bodies: list[BodyOutline] = field(default_factory=list)
    read_sample: Callable[[str, Mapping[str, Any]], Any] | None = None


def read_canvas(spec: str, overrides: Mapping[str, Any], stride: int, multiple: int) -> Canvas:
    """A canvas that is drawn as a sample.

    Args:
        stride: of the codec, in time.
        multiple: of which both sides of a frame must be multiples.

    Raises:
        InputError: it cannot be read, its media neither, or it does not fit the model.
    """
    canvas = Canvas.from_yaml(spec, **overrides)
    place(canvas, stride, multiple)  # reads its media, which now is the time to refuse
    return canvas


def check_choices(config: CanvasConfig) -> None:
    """Refuses what no model is needed to see.

    Raises:
        InputError: two choices do not go together.
    """
    if (config.pretrained is None) == (config.codec is None):
        raise InputError("objective.pretrained and objective.codec: give one of the two")
    if config.lora.rank and config.pretrained is None:
        raise InputError(f"objective.lora.rank={config.lora.rank} needs objective.pretrained to adapt; or use 0")


def clip_lengths(config: CanvasConfig, stride: int) -> list[int]:
    """The numbers of frames that a clip may have, sorted.

    Raises:
        InputError: one of them, or of the clips that are given, is not 1 + stride·k; or too short for the conditions.
    """
    lengths = parse_lengths(config.frames, stride)
    for length in lengths:
        check_plans(config.conditions, length)
    for length in config.conditions.clip_frames:
        try:
            check_frames(length, stride)
        except InputError as error:
            raise InputError(f"objective.conditions.clip_frames: {error}") from error
    return lengths


def check_ego(config: EgoConfig, lengths: Sequence[int], stride: int) -> None:
    """Refuses what the ego objective cannot be trained with.

    Args:
        lengths: see `clip_lengths`.
        stride: of the codec, in time.

    Raises:
        InputError: several lengths, or an anchor within the history.
    """
    if len(lengths) != 1:
        raise InputError(f"objective.frames={config.frames}: the ego objective takes one length, such as 17")
    least = config.history * stride
    if config.anchor and config.anchor_reach < least:
        rule = f"must reach back beyond {config.history} frames of history; nearest: {least}"
        raise InputError(f"objective.anchor_reach={config.anchor_reach} {rule}")


def check_codec(config: CodecConfig) -> None:
    """As `check_choices`, of a codec run."""
    if bool(config.model) == bool(config.pretrained):
        raise InputError("objective.model and objective.pretrained: give one of the two")
    if config.decoder_only and not config.pretrained:
        raise InputError("objective.decoder_only=true needs objective.pretrained; or train the whole codec")


def canvas_outline(config: CanvasConfig) -> Outline:
    """Of a canvas run.

    Raises:
        InputError: a model's configuration cannot be read.
    """
    check_choices(config)
    parts, cached, text_tokens = _pretrained(config) if config.pretrained is not None else _new(config)
    transformer, vae = parts["transformer"], parts["codec"].requires_grad_(False)
    if config.lora.rank:
        with torch.device("meta"):
            add_lora(transformer, config.lora)
    strides = Strides.of(vae.config, transformer.config)
    lengths = clip_lengths(config, strides.temporal)

    def tokens(bucket: Bucket) -> Tokens:
        target, given = strides.latent(bucket.frames, *bucket.size), _given(config, bucket.frames, strides.temporal)
        return Tokens(target.tokens, target.frame_tokens * float(np.mean(given)), target.frame_tokens * max(given))

    most = max(_given(config, max(lengths), strides.temporal))
    return Outline(
        parts,
        config.data,
        lengths,
        strides.multiple,
        config.batch,
        clips=config.clips,
        cached=cached,
        backbone=transformer.config,
        checkpointing=config.activation_checkpointing,
        tokens=tokens,
        text_tokens=text_tokens,
        images=min(IMAGES_AT_ONCE, most * config.batch),
        read_sample=partial(read_canvas, stride=strides.temporal, multiple=strides.multiple),
    )


def ego_outline(config: EgoConfig) -> Outline:
    """Of an ego run: a canvas run, the front-end, and a batch of one of the bodies in every step.

    Raises:
        InputError: as a canvas run; or a body, or the front-end, is not possible.
    """
    if config.pretrained is None:
        raise InputError(NO_CANVAS)
    canvas = canvas_outline(config)
    transformer = canvas.parts["transformer"]
    strides = Strides.of(canvas.parts["codec"].config, transformer.config)
    check_ego(config, canvas.lengths, strides.temporal)
    with torch.device("meta"):
        ego = front_end(
            config, transformer, strides.temporal, lambda folder: EgoAdapter.from_config(EgoAdapter.load_config(folder))
        )

    def tokens(bucket: Bucket) -> Tokens:
        clip, given = strides.latent(bucket.frames, *bucket.size), (config.anchor, config.goal)
        known, most = (1 + config.history) / 2 + sum(given), config.history + sum(chance > 0 for chance in given)
        area = clip.frame_tokens
        return Tokens(clip.tokens - area, area * known, area * most)

    shares = body_shares(config.bodies)
    bodies = [
        BodyOutline(body.layout, body.data, body.clips, config.ego_batch, float(share), tokens)
        for body, share in zip(config.bodies, shares, strict=True)
    ]
    return replace(canvas, parts=canvas.parts | {EGO: ego}, bodies=bodies)


def codec_outline(config: CodecConfig) -> Outline:
    """Of a codec run; its activations are not estimated.

    Raises:
        InputError: a model's configuration cannot be read.
    """
    check_codec(config)
    keywords = config.model or read_config(str(config.pretrained), "config.json")
    with torch.device("meta"):
        vae = AutoencoderKLWan.from_config(keywords)
    return Outline(
        {"codec": vae},
        config.data,
        parse_lengths(config.frames, vae.config.scale_factor_temporal),
        vae.config.scale_factor_spatial,
        config.clips_per_batch,
        captions=False,
        all_places=True,
        read_sample=partial(refuse_sample, objective=config.name),
    )


def _pretrained(config: CanvasConfig) -> tuple[dict[str, nn.Module], dict[str, int], int]:
    model = resolve(config.pretrained)
    settings = {name: read_config(model, f"{name}/config.json") for name in ("transformer", "vae", "text_encoder")}
    with torch.device("meta"):
        parts = {
            "transformer": VideoTransformer.from_config(settings["transformer"]),
            "codec": AutoencoderKLWan.from_config(settings["vae"]),
        }
        text_encoder = UMT5EncoderModel(UMT5Config(**settings["text_encoder"]))
    length = read_config(model, "tokenizer/tokenizer_config.json").get("model_max_length", WAN_TEXT_LENGTH)
    cached = {"text encoder": sum(p.numel() for p in text_encoder.parameters())}
    return parts, cached, int(min(length, WAN_TEXT_LENGTH))


def _new(config: CanvasConfig) -> tuple[dict[str, nn.Module], dict[str, int], int]:
    known = set(VideoTransformer._get_init_keys(VideoTransformer)) - {"self"}
    for key in config.transformer:
        if key not in known:
            raise unknown_key(key, known, "objective.transformer")
    with torch.device("meta"):
        vae = AutoencoderKLWan.from_config(read_config(config.codec, "config.json"))
        text_encoder = UMT5EncoderModel(UMT5Config(**config.text_encoder))
        channels = {"in_channels": vae.config.z_dim, "out_channels": vae.config.z_dim}
        own = channels | {"text_dim": text_encoder.config.d_model} | config.transformer
        transformer = VideoTransformer(**own)
    return {"transformer": transformer, "text encoder": text_encoder, "codec": vae}, {}, config.text_length


def _given(config: CanvasConfig, frames: int, stride: int) -> list[int]:
    """Latent frames that are given with a clip, in many draws."""
    rng = np.random.default_rng(0)
    return [_latents(draw_plan(config.conditions, frames, rng), stride) for _ in range(DRAWS)]


def _latents(plan: Plan, stride: int) -> int:
    return latent_frames(plan.count, stride) if plan.kind == "clip" else plan.count
