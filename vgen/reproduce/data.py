"""The data stage: data sets are unpacked or recorded where they are missing, and their frames decoded once."""

from __future__ import annotations

import logging
import shlex
import subprocess
import sys
from pathlib import Path

from vgen.data.opening import DataConfig, open_footage
from vgen.errors import InputError, RunStopped
from vgen.reproduce.profile import TRAINED, Profile
from vgen.reproduce.ranks import end_with_parent
from vgen.reproduce.recipes import read_stage
from vgen.train.requirements import data_sets

logger = logging.getLogger(__name__)

INFO = Path("meta/info.json")  # what every finished data set holds


def missing(profile: Profile) -> dict[str, list[str]]:
    """Of each data set that is not there, the options of `vgen record` that make it."""
    root = Path(profile.root)
    return {
        name: [*shlex.split(options), "--out", str(root / name)]
        for name, options in profile.data.items()
        if options is not None and not (root / name / INFO).is_file()
    }


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
        _unpack(pack, profile)
    for name, options in missing(profile).items():
        logger.info("recording %s: vgen record %s", name, shlex.join(options))
        if subprocess.run([sys.executable, "-m", "vgen", "record", *options], preexec_fn=end_with_parent).returncode:
            raise RunStopped(f"{name} could not be recorded, as it says above; the same command goes on")
    for data in sources(profile, out):
        open_footage(data)


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


def _unpack(pack: Path, profile: Profile) -> None:
    raise InputError(f"--pack {pack}: packs cannot be read yet; leave it out")
