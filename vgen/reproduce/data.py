"""The data stage: data sets are unpacked or recorded where they are missing, and their frames decoded once."""

from __future__ import annotations

import logging
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from vgen.data.opening import DataConfig, open_footage
from vgen.data.pack.unpacking import unpack
from vgen.errors import InputError, RunStopped
from vgen.metrics import PerceptualDistance
from vgen.reproduce.profile import TRAINED, Profile
from vgen.reproduce.ranks import end_with_parent
from vgen.reproduce.recipes import merged, read_stage
from vgen.train.config import TrainConfig
from vgen.train.requirements import data_sets

logger = logging.getLogger(__name__)

INFO = Path("meta/info.json")  # what every finished data set holds
PHOTOS = "--photos"  # of vgen record pictures
FETCHING = ".fetching"  # in a folder that FETCH has begun to fill and not finished
FETCH = Path(__file__).parents[2] / "launch" / "get_photographs.sh"  # of a checkout


def needed(profile: Profile) -> dict[str, str]:
    """Of each data set that some stage reads, the options of `vgen record` that make it."""
    idle = _idle(profile)
    return {name: options for name, options in profile.data.items() if options is not None and name not in idle}


def missing(profile: Profile) -> dict[str, list[str]]:
    """The same of those that are not there, with the folder."""
    root = Path(profile.root)
    return {
        name: [*shlex.split(options), "--out", str(root / name)]
        for name, options in needed(profile).items()
        if not (root / name / INFO).is_file()
    }


def _idle(profile: Profile) -> set[str]:
    """The data sets that only stages read which are left out."""
    read = {stage: _named(OmegaConf.to_container(merged(profile, stage))) for stage in TRAINED}
    # benches, which name no set of their own, take those of canvases and hands
    busy = {*profile.stages, *(("hand",) if "bench" in profile.stages else ())}
    options = {Path(word).name for each in profile.bench.chosen.values() for word in shlex.split(each)}
    taken = options.union(*(names for stage, names in read.items() if stage in busy))
    return set().union(*(names for stage, names in read.items() if stage not in busy)) - taken


def _named(recipe: Any) -> set[str]:
    """The names of the data sets of a recipe, or of a part of one."""
    if isinstance(recipe, list):
        return set().union(*map(_named, recipe))
    if not isinstance(recipe, dict):
        return set()
    own = recipe.get("dataset")
    return set().union(*map(_named, recipe.values())) | ({Path(own).name} if own else set())


def gather(profile: Profile, out: Path, pack: Path | None) -> None:
    """Unpacks or records what is missing, and decodes all frames that training reads.

    Args:
        out: see `Way`.
        pack: see `Way`.

    Raises:
        InputError: what is missing cannot be made here.
        RunStopped: a recording has failed.
    """
    if pack is not None:
        unpack(pack, profile.root)
    for name, options in missing(profile).items():
        _fetch_photographs(options)
        logger.info("recording %s: vgen record %s", name, shlex.join(options))
        _call([sys.executable, "-m", "vgen", "record", *options], f"{name} could not be recorded")
    for data in sources(profile, out):
        open_footage(data)


def check_packages(configs: Sequence[TrainConfig]) -> None:
    """Refuses a way whose trainings need a package that is not installed.

    Raises:
        InputError: it says what to install.
    """
    if any(getattr(config.objective, "perceptual", 0.0) for config in configs):
        PerceptualDistance.load()


def _fetch_photographs(options: Sequence[str]) -> None:
    """Gets the folder of photographs that a recording names, where it is not there, or not whole."""
    if PHOTOS not in options:
        return
    folder = Path(options[list(options).index(PHOTOS) + 1])
    if folder.is_dir() and not (folder / FETCHING).exists():
        return
    if not FETCH.is_file():
        raise InputError(f"{PHOTOS} {folder} is not there; put photographs into it, or run from a checkout of vgen")
    logger.info("fetching photographs: %s %s", FETCH.name, folder)
    _call(["bash", str(FETCH), str(folder)], "photographs could not be fetched")


def _call(command: Sequence[str], fault: str) -> None:
    """Runs a command that ends with this process; RunStopped where it fails."""
    if subprocess.run(command, preexec_fn=end_with_parent).returncode:
        raise RunStopped(f"{fault}, as it says above; the same command goes on")


def sources(profile: Profile, out: Path) -> list[DataConfig]:
    """What the stages read, each once.

    Raises:
        InputError: a recipe cannot be read.
    """
    found: dict[tuple[str | None, ...], DataConfig] = {}
    for stage in profile.stages:
        if stage in TRAINED:
            for _, data in data_sets(read_stage(profile, out, stage).objective, "objective"):
                found.setdefault((data.dataset, data.videos, data.camera, data.split, data.cache), data)
    return list(found.values())
