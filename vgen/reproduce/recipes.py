"""The recipe of each stage that trains: the profile's, with what the stages before have made."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from vgen.files import write_whole, writing
from vgen.models import STATE, resolve
from vgen.reproduce.profile import FOLDER, Profile
from vgen.shipped import find
from vgen.train.config import TrainConfig, load_config, read_recipe


def model_of(out: Path, stage: str) -> Path:
    """The folder of what a stage has trained, as its run writes it."""
    return out / stage / "model"


def start_of(out: Path, stage: str) -> Path:
    """The folder of the model that a stage goes on from: all that there was before it."""
    return out / "before" / stage


def codec_of(profile: Profile, out: Path, stage: str) -> Path:
    """The folder of the VAE that a stage works with: what was trained before it, or that of the start."""
    made = model_of(out, "codec") if "codec" in profile.stages else start_of(out, stage)
    return made / "vae"


def goes_on(profile: Profile, out: Path, stage: str) -> bool:
    """Whether a stage goes on from weights: of the profile's start, which may have no Stage I, or its own of before a
    stage that it stands on was trained again."""
    part = {"codec": "vae", "state": STATE}.get(stage, "transformer")
    given = profile.start is not None and (stage != "state" or (Path(resolve(profile.start)) / STATE).is_dir())
    return given or (start_of(out, stage) / part).is_dir()


def merged(profile: Profile, stage: str) -> DictConfig:
    """The recipe of a stage with what the profile sets in it."""
    return cast(DictConfig, OmegaConf.merge(read_recipe(find(FOLDER / f"{stage}.yaml")), getattr(profile, stage).set))


def write_recipe(profile: Profile, out: Path, stage: str) -> Path:
    """Writes the whole recipe of a stage into `<out>/recipes`, where `vgen train` takes it, too; returns the file."""
    recipe = read_recipe(find(FOLDER / f"{stage}.yaml"))
    shape = {"codec": "model", "state": "llama"}.get(stage) if goes_on(profile, out, stage) else None
    if shape and profile.start:
        recipe.objective.pop(shape)  # the start has one, beside which the profile's would be refused
    given = OmegaConf.merge(recipe, getattr(profile, stage).set, _chained(profile, out, stage))
    if shape and not profile.start:
        given.objective.pop(shape)  # its own weights have that of the profile
    file = out / "recipes" / f"{stage}.yaml"
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, OmegaConf.to_yaml(given))
    return file


def read_stage(profile: Profile, out: Path, stage: str) -> TrainConfig:
    """The configuration of a stage that trains.

    Raises:
        InputError: see `load_config`.
    """
    return load_config(write_recipe(profile, out, stage))


def _chained(profile: Profile, out: Path, stage: str) -> dict[str, Any]:
    """The keys that name what other stages have made."""
    objective: dict[str, Any] = {}
    if stage == "codec":
        if goes_on(profile, out, stage):
            objective = {"pretrained": str(start_of(out, stage) / "vae")}
        if objective or profile.codec.set.get("objective", {}).get("pretrained"):
            objective["linear_start"] = 0.0  # which is of codecs from nothing
    elif stage == "state":
        objective = {"codec": str(codec_of(profile, out, stage))}
        if goes_on(profile, out, stage):
            objective["pretrained"] = str(start_of(out, stage) / STATE)
    elif stage == "hand" or goes_on(profile, out, stage):
        objective = {"pretrained": str(start_of(out, stage)), "codec": None}
    else:
        objective = {"codec": str(codec_of(profile, out, stage))}
    return {"run": str(out / stage), "objective": objective}
