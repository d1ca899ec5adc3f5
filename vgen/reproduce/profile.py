"""What a profile says of a way to nano: its data, its recipes, and the share of the time that each stage has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vgen import checks
from vgen.backbone.precision import DTYPES
from vgen.errors import InputError, unknown_key
from vgen.shipped import find
from vgen.train.config import overridden, read_recipe, refuse_unknown

FOLDER = Path("configs/train/nano")
NAMES = ("cpu", "gpu")
TRAINED = ("codec", "canvas", "hand", "state")  # the stages that train, in this order
STANDS_ON = {"canvas": ("codec",), "hand": ("codec", "canvas"), "state": ("codec",)}  # those whose weights it takes
STAGES = ("data", *TRAINED, "bench", "export")


@dataclass
class Training:
    """A stage that trains, by the recipe of its name in configs/train/nano."""

    share: float = 0.0  # of the minutes; 0 leaves the stage out
    set: dict[str, Any] = field(default_factory=dict)  # keys of the recipe that are replaced


@dataclass
class Benchmarks:
    """What is measured at the end: by name of `vgen bench`, its options. `canvas-unseen` is another run of `canvas`."""

    share: float = 0.0
    runs: dict[str, str | None] = field(default_factory=dict)  # null: none, where the base has one

    @property
    def chosen(self) -> dict[str, str]:
        """The runs, without those that are null."""
        return {name: options for name, options in self.runs.items() if options is not None}


@dataclass
class Pictures:
    """What the card shows: canvases that are drawn from given images, by name."""

    share: float = 0.02
    specs: list[str] = field(default_factory=list)


@dataclass
class Profile:
    """A way to nano."""

    minutes: float = MISSING  # of all stages but data
    machine: str = "gpu"  # what --dry-run reckons with: gpu, an H100, or cpu, a core for each rank
    ranks: int = 1  # processes that train side by side; a GPU needs one
    start: str | None = None  # a model of the same shapes whose weights the stages go on from
    dtype: str = "bf16"  # of the weights that are written
    name: str = "nano"  # as the card calls the model
    about: str = ""  # what the card says of it first
    limits: list[str] = field(default_factory=list)  # what it cannot do, beside what its runs and results say
    licences: list[str] = field(default_factory=list)  # of its data
    root: str = "data"  # where the data sets lie
    data: dict[str, str | None] = field(default_factory=dict)  # sets, and what `vgen record` makes each of; null: none
    codec: Training = field(default_factory=Training)
    canvas: Training = field(default_factory=Training)
    hand: Training = field(default_factory=Training)
    state: Training = field(default_factory=Training)
    bench: Benchmarks = field(default_factory=Benchmarks)
    export: Pictures = field(default_factory=Pictures)

    @property
    def stages(self) -> list[str]:
        """The stages that it has, in order."""
        return [name for name in STAGES if name == "data" or getattr(self, name).share]

    @property
    def shares(self) -> dict[str, float]:
        """The share of the minutes of each stage, but of the data."""
        return {name: getattr(self, name).share for name in self.stages if name != "data"}


def load_profile(name: str, overrides: Sequence[str] = ()) -> Profile:
    """A profile.

    Args:
        name: cpu, gpu, or a YAML file; `base` in it names another one that is read first.
        overrides: `key=value` with dotted keys, as `hand.set.objective.batch=2`.

    Raises:
        InputError: it cannot be read, a key is unknown, or a value cannot be.
    """
    path = Path(find(FOLDER / f"{name}.yaml" if name in NAMES else name))
    if not path.is_file():
        raise InputError(f"--profile {name} is no profile; use one of {', '.join(NAMES)}, or a YAML file like theirs")
    schema = OmegaConf.structured(Profile)
    try:
        given = overridden(read_recipe(path), overrides)
        if strange := [str(key) for key in given if key not in schema.keys()]:  # noqa: SIM118 (as in refuse_unknown)
            raise unknown_key(strange[0], [str(key) for key in schema], "the profile")
        refuse_unknown(given, schema, "")
        profile = cast(Profile, OmegaConf.to_object(OmegaConf.merge(schema, given)))
    except (OSError, OmegaConfBaseException, yaml.YAMLError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot read the profile {path}: {' '.join(str(error).split())}") from error
    _check(profile, path)
    return profile


def _check(profile: Profile, path: Path) -> None:
    if not profile.minutes > 0:
        raise InputError(f"{path.name}: minutes={profile.minutes:g} is not positive; give 1 or more")
    for name in STAGES[1:]:
        if not getattr(profile, name).share >= 0:
            raise InputError(f"{path.name}: {name}.share={getattr(profile, name).share:g} is negative; the least is 0")
    if "export" not in profile.stages:
        raise InputError(f"{path.name}: export.share is 0, and without it there is no model; give it a share")
    for name in TRAINED:
        if name not in profile.stages and profile.start is None:
            rule = "is 0, and there is no start to go on from; give one of the two"
            raise InputError(f"{path.name}: {name}.share {rule}")
    checks.choice(f"{path.name}: dtype", profile.dtype, DTYPES)
    checks.choice(f"{path.name}: machine", profile.machine, NAMES)
    if profile.ranks < 1:
        raise InputError(f"{path.name}: ranks={profile.ranks} is not positive; the smallest is 1")
