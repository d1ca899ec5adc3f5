"""What a recipe may say: the YAML of a run, checked key by key against these dataclasses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, cast

import yaml
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import ConfigIndexError, OmegaConfBaseException

from vgen.checks import ranges, within
from vgen.errors import InputError, unknown_key
from vgen.shipped import find
from vgen.train.objectives import objective_class
from vgen.train.samples import SamplesConfig
from vgen.train.trackers import check_trackers

# What may be another value when a run goes on from a checkpoint, as patterns of dotted keys. It is still the same run:
# only how long, how fast, how closely watched and where. All else would make it another one. `accumulation` may change
# with the number of ranks alone (see checkpoint/resume.py); and what ZeRO splits hangs on `zero_stage`.
MAY_CHANGE = (
    "run", "steps", "max_minutes", "accumulation", "deepspeed", "threads", "prefetch", "keep", "keep_exports",
    "sequence_parallel_size", "log_every", "*_minutes", "samples.*", "trackers", "project", "spike_factor",
    "max_skipped", "force_config_change", "ema_decay", "gradient_clip", "optimizer.lr", "schedule.*",
    "objective.data.cache", "objective.data.max_bad_share", "objective.latents", "objective.latent_workers",
    "objective.attention", "objective.compile", "objective.in_memory", "objective.activation_checkpointing",
    "objective.validation_*", "objective.statistics_clips", "objective.default_*",
)  # fmt: skip


@dataclass
class OptimizerConfig:
    """AdamW for everything, or Muon for the hidden matrices and AdamW for the rest."""

    name: str = "adamw"  # adamw | muon
    lr: float = within(1e-4, 0)
    factors: dict[str, float] = field(default_factory=dict)  # of lr, for parts of the objective, such as {ego: 5}
    weight_decay: float = within(0.01, 0)  # on parameters of two and more dimensions
    betas: tuple[float, float] = within((0.9, 0.99), 0, 0.99999)
    momentum: float = within(0.95, 0, 0.99999)  # of Muon


@dataclass
class ScheduleConfig:
    """Linear warm-up, then a cosine from the full learning rate to `floor` of it."""

    warmup_steps: int = within(100, 0)
    floor: float = within(0.02, 0, 1)


@dataclass
class TrainConfig:
    """One training run. `steps`, `max_minutes` and `wall_minutes` end it; the learning rate follows what is sooner."""

    run: str = MISSING  # the folder that the run writes
    objective: Any = MISSING  # {name: ..., and the keys of that objective's Config}
    seed: int = within(0, 0, 2**63 - 1)
    steps: int = within(MISSING, 1)
    max_minutes: float | None = None  # of training, over all resumes
    wall_minutes: float | None = None  # of this start alone, with all that is prepared before the first step
    accumulation: int = within(1, 1)  # batches per optimiser step
    precision: str = "bf16"  # bf16: autocast over fp32 weights, where the device computes in it | fp32
    gradient_clip: float = within(1.0, 0)  # 0 does not clip
    spike_factor: float = within(10.0, 0)  # a step whose gradient is longer than so many medians is skipped; 0: none
    max_skipped: int = within(10, 0)  # steps in a row that may be skipped; one more stops the run
    ema_decay: float = 0.999  # 0 keeps none
    zero_stage: int = 0  # DeepSpeed ZeRO: 0, 1, 2, 3
    sequence_parallel_size: int = within(1, 1)  # neighbouring ranks that share the tokens of a sample (Ulysses)
    deepspeed: str | None = (
        None  # a DeepSpeed JSON whose keys are added to ours (offload, activation checkpointing ...)
    )
    threads: int = within(1, 1)  # CPU threads per rank
    prefetch: int = within(2, 1)  # batches prepared ahead, by as many threads
    log_every: int = within(10, 1)  # steps
    validate_minutes: float = within(10.0, 0)
    checkpoint_minutes: float = within(15.0, 0)
    keep: int = within(2, 1)  # checkpoints
    keep_exports: int = within(0, 0)  # every so many steps the averaged model is kept in <run>/exports; 0: none
    trackers: list[str] = field(default_factory=list)  # beside TensorBoard: wandb, trackio
    project: str = "vgen"  # that trackers show the run under
    force_config_change: bool = False  # go on from a checkpoint of another recipe, as for longer clips half-way
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    samples: SamplesConfig = field(default_factory=SamplesConfig)


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Reads a recipe.

    Args:
        path: a YAML file whose keys are those of `TrainConfig`; `objective` holds a `name` and that objective's keys.
            `base` names another file, from its own folder on, that is read first.
        overrides: `key=value` pairs with dotted keys, as `optimizer.lr=1e-3` or `objective.bodies.0.layout=pose7`.

    Raises:
        InputError: the file cannot be read, a key is unknown (the nearest known one is named), a value is missing or
            of the wrong type, or two choices do not go together.
    """
    try:
        given = overridden(read_recipe(find(path)), overrides)
        name = OmegaConf.select(given, "objective.name")
    except (OSError, OmegaConfBaseException, yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"cannot read the recipe {path}: {_one_line(error)}") from error
    if not isinstance(name, str):
        raise InputError(f"{path} names no objective; write objective: {{name: codec, ...}}")
    schema = _schema(name)
    try:
        refuse_unknown(given, schema, "")
        config = _checked(schema, given)
    except OmegaConfBaseException as error:
        raise InputError(f"{path}: {_one_line(error)}") from error
    _check(config)
    return config


def read_recipe(path: str | Path) -> DictConfig:
    """The keys of a recipe over those that it is based on, unchecked.

    Raises:
        InputError: a file holds no mapping, or names no file as its base.
        OSError, YAMLError: a file cannot be read.
    """
    path = Path(path)
    try:
        given = OmegaConf.load(path)
    except AssertionError:  # of a text that is a number, say
        given = None
    if not isinstance(given, DictConfig):
        raise InputError(f"{path} must hold a mapping, such as steps: 1000")
    base = given.pop("base", None)
    if base is None:
        return given
    if not isinstance(base, str):
        raise InputError(f"{path}: base={base} must be the name of another recipe")
    return _merged(read_recipe(path.parent / base), given)


def overridden(recipe: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """A recipe with `key=value` pairs over it; entries of a list are named by their number, from 0.

    Raises:
        InputError: a list has no such entry.
    """
    for text in overrides:
        try:
            recipe.merge_with_dotlist([text])
        except (ConfigIndexError, TypeError, ValueError) as error:
            rule = "a list has no such entry; they are numbered from 0, as in objective.bodies.0.layout=pose7"
            raise InputError(f"{text}: {rule}") from error
    return recipe


def config_dict(config: TrainConfig) -> dict[str, Any]:
    """The plain nested dict of a config, for a YAML or JSON record."""
    return _plain(OmegaConf.structured(config))


def recorded_config(config: dict[str, Any]) -> TrainConfig:
    """A config from its plain dict, as a checkpoint keeps it.

    Raises:
        InputError: it has keys or values that this version of vgen does not know.
    """
    schema = _schema(config["objective"]["name"])
    refuse_unknown(OmegaConf.create(config), schema, "")
    try:
        return _checked(schema, config)
    except OmegaConfBaseException as error:
        raise InputError(f"the recipe of the checkpoint: {_one_line(error)}") from error


def fingerprint(config: dict[str, Any]) -> str:
    """Twelve hexadecimal digits that are the same for all configs of one run, whatever `MAY_CHANGE` lets change."""
    kept = {key: value for key, value in _flat(config).items() if not _may_change(key)}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]


def config_changes(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The dotted keys whose values differ, each with its old and its new value. A key that one side does not know, as
    it came or went with a version of vgen, counts as its default."""
    defaults: dict[str, Any] = {}
    for config in (old, new):
        defaults |= _flat(_plain(_schema(config["objective"]["name"])))
    before, after = (defaults | _flat(config) for config in (old, new))
    return {key: (before.get(key), after.get(key)) for key in before | after if before.get(key) != after.get(key)}


def refused_changes(changes: dict[str, tuple[Any, Any]]) -> dict[str, tuple[Any, Any]]:
    """Those that make it another run."""
    return {key: values for key, values in changes.items() if not _may_change(key)}


def _may_change(key: str) -> bool:
    return any(fnmatch(key, pattern) for pattern in MAY_CHANGE)


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys; values as they come back from JSON."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return json.loads(json.dumps(flat))


def _merged(*configs: Any) -> DictConfig:
    return cast(DictConfig, OmegaConf.merge(*configs))  # of mappings it is one


def _checked(schema: DictConfig, given: Any) -> TrainConfig:
    return cast(TrainConfig, OmegaConf.to_object(OmegaConf.merge(schema, given)))


def _plain(config: DictConfig) -> dict[str, Any]:
    return cast(dict[str, Any], OmegaConf.to_container(config))


def _schema(objective: str) -> DictConfig:
    schema = OmegaConf.structured(TrainConfig)
    schema.objective = OmegaConf.structured(objective_class(objective).Config)
    return schema


def refuse_unknown(given: DictConfig, schema: DictConfig, where: str) -> None:
    """Refuses keys that a schema does not know.

    Args:
        where: they are, for the message.

    Raises:
        InputError: it names the nearest known key.
    """
    if OmegaConf.get_type(schema) is dict:  # a free mapping: whoever takes it checks it
        return
    for key in given:
        if key not in schema.keys():  # noqa: SIM118 (`in` is False for a value that is missing)
            raise unknown_key(str(key), [str(k) for k in schema], where or "the recipe")
        value = OmegaConf.select(given, str(key))
        if isinstance(value, DictConfig) and OmegaConf.is_dict(schema._get_node(key)):
            refuse_unknown(value, schema[key], f"{where}.{key!s}".lstrip("."))


def _check(config: TrainConfig) -> None:
    for key, value, known in (
        ("optimizer.name", config.optimizer.name, ("adamw", "muon")),
        ("precision", config.precision, ("bf16", "fp32")),
        ("zero_stage", config.zero_stage, (0, 1, 2, 3)),
    ):
        if value not in known:
            raise InputError(f"{key}={value} is not known; choose one of: {', '.join(map(str, known))}")
    check_trackers(config.trackers)
    ranges(config)
    for key in ("max_minutes", "wall_minutes"):
        if (minutes := getattr(config, key)) is not None and not minutes > 0:
            raise InputError(f"{key}={minutes:g} is not positive; leave it out for a run without such an end")
    if not 0 <= config.ema_decay < 1:
        raise InputError(f"ema_decay={config.ema_decay:g} must be from 0, which is no average, to below 1, as 0.999")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
