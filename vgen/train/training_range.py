"""The figures of a model that was trained before they were kept, from the data that it was trained on.

bodies = [EgoBodyConfig(DataConfig("data/metaworld", "first_person", decode_once=False), "position4")]
measure_range("nano", bodies, [17], ConditionsConfig()).write(folder)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vgen.backbone.codec import WanCodec, load_vae
from vgen.data.opening import open_data
from vgen.models import ModelInfo, TrainingRange, component_folder, resolve
from vgen.train.objectives.conditions import ConditionsConfig
from vgen.train.objectives.ego_data import BodyClips, EgoBodyConfig
from vgen.train.objectives.trained_on import codec_range, range_of_bodies, range_of_clips


def measure_range(
    model: str, bodies: Sequence[EgoBodyConfig], lengths: Sequence[int], conditions: ConditionsConfig
) -> TrainingRange:
    """What a model was trained on; of the data, what a run holds out is left out.

    Args:
        model: "nano", a diffusers folder or a hub id.
        bodies: the data sets, with their trajectories; canvases were of the same clips.
        lengths: numbers of frames of a clip.
        conditions: what was given of canvases.

    Raises:
        InputError: the model or the data cannot be opened.
    """
    info, folder = ModelInfo.read(model), resolve(model)
    sets = [open_data(body.data, lengths, info.size_multiple) for body in bodies]
    clips = [BodyClips(body, data, data.train, 0) for body, data in zip(bodies, sets, strict=True)]
    own = range_of_clips([each.clips for each in clips], conditions)
    codec = codec_range(WanCodec(load_vae(component_folder(folder, "vae"))), sets)
    layouts = range_of_bodies([each.absolute for each in clips])
    return replace(own, layouts=layouts, codec_psnr=codec.codec_psnr)
