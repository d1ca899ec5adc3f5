"""What a recipe may say: the YAML of a run, checked key by key against these dataclasses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vgen.errors import InputError, unknown_key
from vgen.train.objectives import objective_class


@dataclass
class OptimizerConfig:
    """AdamW for everything, or Muon for the hidden matrices and AdamW for the rest."""

    name: str = "adamw"  # adamw | muon
    lr: float = 1e-4
    weight_decay: float = 0.01  # on parameters of two and more dimensions
    betas: tuple[float, float] = (0.9, 0.99)
    momentum: float = 0.95  # of Muon


@dataclass
class ScheduleConfig:
    """Linear warm-up, then a cosine from the full learning rate to `floor` of it."""

    warmup_steps: int = 100
    floor: float = 0.02


@dataclass
class TrainConfig:
    """One training run. `steps` and `max_minutes` both end it; the learning rate follows the one that ends sooner."""

    run: str = MISSING  # the folder that the run writes
    objective: Any = MISSING  # {name: ..., and the keys of that objective's Config}
    seed: int = 0
    steps: int = MISSING
    max_minutes: float | None = None  # of training, over all resumes
    accumulation: int = 1  # batches per optimiser step
    precision: str = "bf16"  # bf16: autocast over fp32 weights | fp32
    gradient_clip: float = 1.0
    ema_decay: float = 0.999  # 0 keeps none
    zero_stage: int = 0  # DeepSpeed ZeRO: 0, 1, 2, 3
    sequence_parallel_size: int = 1  # neighbouring ranks that share the tokens of a sample (Ulysses), for long videos
    deepspeed: str | None = (
        None  # a DeepSpeed JSON whose keys are added to ours (offload, activation checkpointing ...)
    )
    threads: int = 1  # CPU threads per rank
    prefetch: int = 2  # batches prepared ahead, by as many threads
    log_every: int = 10  # steps
    validate_minutes: float = 10.0
    checkpoint_minutes: float = 15.0
    keep: int = 2  # checkpoints
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Reads a recipe.

    Args:
        path: a YAML file whose keys are those of `TrainConfig`; `objective` holds a `name` and that objective's keys.
        overrides: `key=value` pairs with dotted keys, as `optimizer.lr=1e-3`.

    Raises:
        InputError: the file cannot be read, a key is unknown (the nearest known one is named), a value is missing or
            of the wrong type, or two choices do not go together.
    """
    try:
        given = OmegaConf.merge(OmegaConf.load(path), OmegaConf.from_dotlist(list(overrides)))
    except (OSError, OmegaConfBaseException, ValueError) as error:
        raise InputError(f"cannot read the recipe {path}: {_one_line(error)}") from error
    name = OmegaConf.select(given, "objective.name")
    if name is None:
        raise InputError(f"{path} names no objective; write objective: {{name: codec, ...}}")
    schema = OmegaConf.structured(TrainConfig)
    schema.objective = OmegaConf.structured(objective_class(name).Config)
    _refuse_unknown(given, schema, "")
    try:
        config = OmegaConf.to_object(OmegaConf.merge(schema, given))
    except OmegaConfBaseException as error:
        raise InputError(f"{path}: {_one_line(error)}") from error
    _check(config)
    return config


def config_dict(config: TrainConfig) -> dict[str, Any]:
    """The plain nested dict of a config, for a YAML or JSON record."""
    return OmegaConf.to_container(OmegaConf.structured(config))


def _refuse_unknown(given: DictConfig, schema: DictConfig, where: str) -> None:
    if OmegaConf.get_type(schema) is dict:  # a free mapping: whoever takes it checks it
        return
    for key in given:
        if key not in schema.keys():  # noqa: SIM118 (`in` is False for a value that is missing)
            raise unknown_key(str(key), [str(k) for k in schema], where or "the recipe")
        value = OmegaConf.select(given, str(key))
        if isinstance(value, DictConfig) and OmegaConf.is_dict(schema._get_node(key)):
            _refuse_unknown(value, schema[key], f"{where}.{key}".lstrip("."))


def _check(config: TrainConfig) -> None:
    for key, value, known in (
        ("optimizer.name", config.optimizer.name, ("adamw", "muon")),
        ("precision", config.precision, ("bf16", "fp32")),
        ("zero_stage", config.zero_stage, (0, 1, 2, 3)),
    ):
        if value not in known:
            raise InputError(f"{key}={value} is not known; choose one of: {', '.join(map(str, known))}")
    for key in ("steps", "accumulation", "sequence_parallel_size", "threads", "prefetch", "log_every", "keep"):
        if getattr(config, key) < 1:
            raise InputError(f"{key}={getattr(config, key)} is not positive; the smallest is 1")
    if config.zero_stage == 3 and config.ema_decay > 0:
        raise InputError(
            "ema_decay > 0 needs whole weights and zero_stage=3 splits them; use ema_decay=0 or zero_stage=2"
        )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
