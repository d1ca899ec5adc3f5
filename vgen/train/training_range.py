"""The figures of a model that was trained before they were kept, from the data that it was trained on.

bodies = [EgoBodyConfig(DataConfig("data/metaworld", "first_person", decode_once=False), "position4")]
measure_range("nano", bodies, [17], ConditionsConfig()).write(folder)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from tqdm import tqdm

from vgen.backbone.codec import WanCodec, load_vae
from vgen.data.opening import DataConfig, TrainingData, open_data
from vgen.media.pixels import to_unit
from vgen.models import ModelInfo, TrainingRange, component_folder, resolve
from vgen.models.picture_probe import latent_looks
from vgen.train.objectives.conditions import ConditionsConfig
from vgen.train.objectives.ego_data import BodyClips, EgoBodyConfig
from vgen.train.objectives.trained_on import (
    PICTURES,
    codec_range,
    range_of_bodies,
    range_of_clips,
    range_of_pictures,
)
from vgen.trajectory.places import joint_place


def measure_range(
    model: str,
    bodies: Sequence[EgoBodyConfig],
    lengths: Sequence[int],
    conditions: ConditionsConfig,
    others: Sequence[DataConfig] = (),
) -> TrainingRange:
    """What a model was trained on; of the data, what a run holds out is left out.

    Args:
        model: "nano", a diffusers folder or a hub id.
        bodies: the data sets, with their trajectories; canvases were of the same clips.
        lengths: numbers of frames of a clip.
        conditions: what was given of canvases.
        others: data sets of canvases alone.

    Raises:
        InputError: the model or the data cannot be opened.
    """
    info, folder = ModelInfo.read(model), resolve(model)
    sets = [open_data(body.data, lengths, info.size_multiple) for body in bodies]
    clips = [BodyClips(body, data, data.train, 0) for body, data in zip(bodies, sets, strict=True)]
    own = range_of_clips([each.clips for each in clips], conditions)
    codec = WanCodec(load_vae(component_folder(folder, "vae")))
    pictures = range_of_pictures(
        ((each.config.layout, *_pictures(codec, each, data)) for each, data in zip(clips, sets, strict=True)),
        [
            looks
            for data in others
            for looks in _other_pictures(
                codec, open_data(data, lengths, info.size_multiple), -(-PICTURES // len(others))
            )
        ],
    )
    layouts = range_of_bodies([each.absolute for each in clips])
    held = codec_range(codec, sets).codec_psnr
    return replace(own, codec_psnr=held, layouts=layouts, hands=pictures.hands, scenes=pictures.scenes)


def _pictures(codec: WanCodec, body: BodyClips, data: TrainingData) -> tuple[np.ndarray, np.ndarray]:
    """As `BodyClips.pictures`, of clips that are not encoded."""
    stills, absolute = data.stills(data.train), dict(zip(body.clips.places, body.absolute, strict=True))
    looks, places = [], []
    for number in tqdm(stills.spread(PICTURES), "encoding pictures", delay=2):
        trajectory, start = absolute.get(stills.places[stills.place(number)]), stills.start(number)
        if trajectory is not None and trajectory.valid[start]:
            looks.append(_looks(codec, stills.pixels(number)))
            places.append(joint_place(trajectory, start))
    return np.array(looks), np.array(places)


def _other_pictures(codec: WanCodec, data: TrainingData, count: int) -> Iterator[np.ndarray]:
    """The looks of so many pictures of a data set, which are no body's."""
    stills = data.stills(data.train)
    for number in tqdm(stills.spread(count), "encoding other pictures", delay=2):
        yield _looks(codec, stills.pixels(number))


def _looks(codec: WanCodec, pixels: np.ndarray) -> np.ndarray:
    """Of the latent of a picture uint8 [1, H, W, 3], see `latent_looks`."""
    picture = to_unit(torch.from_numpy(pixels)).permute(0, 3, 1, 2)
    return latent_looks(codec.encode_image(picture)[:, :, 0].numpy())[0]
