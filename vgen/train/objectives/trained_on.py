"""What a run trained on, in the figures that go into its model's folder; see `vgen.models.training_range`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vgen.backbone.codec import Codec
from vgen.backbone.encoding import IMAGES_AT_ONCE, rebuild
from vgen.data.clips import Clips, read_or_next
from vgen.data.opening import TrainingData
from vgen.media.pixels import to_unit
from vgen.metrics.pixels import psnr
from vgen.models import resolve
from vgen.models.picture_probe import PictureProbe, means_of
from vgen.models.training_range import LayoutRange, TrainingRange, caption_words, psnr_quantiles
from vgen.train.objectives.conditions import KINDS, ConditionsConfig
from vgen.train.objectives.denoiser import DenoiserConfig
from vgen.trajectory.places import body_speeds, known_rows
from vgen.trajectory.trajectory import Trajectory

MEASURED_FRAMES = 256  # of all data sets together, for the codec's PSNR
PICTURES = 1500  # of a body, that tell where its hand is in them; as many of no body tell its scenes from others
MOST_EPISODES = 2000  # of a body, whose rows tell where hands are


def range_of_clips(sets: Sequence[Clips], conditions: ConditionsConfig) -> TrainingRange:
    """Of clips, with their captions.

    Args:
        sets: all clips of every data set.
        conditions: what is given of them.
    """
    kinds = sorted(set().union(*(each.kinds() for each in sets)))
    return TrainingRange(
        tuple(sorted({bucket.size for bucket, _ in kinds})),
        tuple(sorted({bucket.frames for bucket, _ in kinds})),
        tuple(sorted({round(fps, 3) for _, fps in kinds})),
        tuple(sorted(kind for kind in KINDS if getattr(conditions, kind))),
        caption_words(each.footage.episodes[place].caption for each in sets for place in each.places),
    )


def range_before(config: DenoiserConfig) -> TrainingRange | None:
    """Of the model that a run begins from, or of the codec alone; None of a pretrained one that does not say."""
    if config.pretrained is not None:
        return TrainingRange.read(resolve(config.pretrained), config.pretrained)
    codec = TrainingRange.read(Path(config.codec or "").parent)
    return TrainingRange(codec_psnr=None if codec is None else codec.codec_psnr)


def range_after(config: DenoiserConfig, before: TrainingRange | None, own: TrainingRange) -> TrainingRange:
    """Of the model that a run makes.

    Args:
        config: of the run.
        before: what `range_before` says.
        own: what the run itself trains on.
    """
    if config.pretrained is None:
        return replace(own, codec_psnr=None if before is None else before.codec_psnr)
    return (before or TrainingRange()).join(own)


def range_of_bodies(recorded: Iterable[Sequence[Trajectory]]) -> dict[str, LayoutRange]:
    """Of where hands were and how fast, by layout.

    Args:
        recorded: of each body, absolute trajectories of one layout.
    """
    found: dict[str, LayoutRange] = {}
    for body in recorded:
        chosen = [body[n] for n in np.linspace(0, len(body) - 1, min(len(body), MOST_EPISODES)).astype(int)]
        own, name = _range_of_layout(chosen), chosen[0].layout
        found[name] = found[name].join(own) if name in found else own
    return found


def _range_of_layout(recorded: Sequence[Trajectory]) -> LayoutRange:
    places, speeds = defaultdict(list), defaultdict(list)
    for each in recorded:
        for body in each.spec.bodies:
            speeds[body].append(body_speeds(each, body))
            for column in sorted({column for point in each.spec.place(body) for column in point}):
                places[each.spec.names[column]].append(each.values[known_rows(each, body), column])
    return LayoutRange.of_values(_joined(places), _joined(speeds))


def range_of_pictures(
    pictures: Iterable[tuple[str, np.ndarray, np.ndarray]], others: Iterable[np.ndarray] = ()
) -> TrainingRange:
    """What tells from a picture where its hand is, and whose scene it is.

    Args:
        pictures: of each body its layout, the looks [K, F] of latents (`latent_looks`), and where it is in them [K, P].
        others: looks [F] of pictures that are no body's. With neither these nor a second layout nothing tells scenes.
    """
    looks, places = defaultdict(list), defaultdict(list)
    for layout, own, where in pictures:
        if len(own):
            looks[layout].append(own)
            places[layout].append(where)
    known, where_known = _joined(looks), _joined(places)
    hands = {name: PictureProbe.fit(means_of(own), where_known[name]) for name, own in known.items()}
    return TrainingRange(
        hands={name: probe for name, probe in hands.items() if probe},
        scenes=_scenes(known, list(others)),
    )


def _scenes(known: Mapping[str, np.ndarray], others: Sequence[np.ndarray]) -> dict[str, PictureProbe]:
    """What tells the pictures of each layout from all other pictures."""
    every = [*known.values(), *([np.stack(others)] if others else [])]
    if len(every) < 2:
        return {}
    order = np.random.default_rng(0).permutation(sum(map(len, every)))
    looks, owner = np.concatenate(every)[order], np.repeat(np.arange(len(every)), list(map(len, every)))[order]
    probes = {name: PictureProbe.fit(looks, (owner == n)[:, None].astype(float)) for n, name in enumerate(known)}
    return {name: probe for name, probe in probes.items() if probe}


def codec_range(codec: Codec, sets: Sequence[TrainingData]) -> TrainingRange:
    """How well a codec holds single frames that are spread over the training clips of some data sets."""
    decibels: list[float] = []
    for data in sets:
        stills = data.stills(data.train)
        numbers = stills.spread(-(-MEASURED_FRAMES // len(sets)))
        for first in range(0, len(numbers), IMAGES_AT_ONCE):
            part = range(first, min(first + IMAGES_AT_ONCE, len(numbers)))
            for pixels in _by_size(read_or_next(stills, numbers, place, data.bad)[1][0] for place in part):
                made = rebuild(codec, pixels, torch.ones_like(pixels[:, :1]))
                decibels += psnr(made[:, :, None], pixels[:, :, None]).tolist()
    return TrainingRange(codec_psnr=psnr_quantiles(decibels) if decibels else None)


def _by_size(frames: Iterable[np.ndarray]) -> Iterable[Tensor]:
    """Frames uint8 [H, W, 3] as batches [K, 3, H, W] in [-1, 1], those of a size together."""
    sizes: dict[tuple[int, ...], list[Tensor]] = defaultdict(list)
    for frame in frames:
        sizes[frame.shape].append(to_unit(torch.from_numpy(frame)).permute(2, 0, 1))
    return map(torch.stack, sizes.values())


def _joined(parts: Mapping[str, Sequence[np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}
