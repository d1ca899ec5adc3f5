"""What has to be there before a run starts: the results of other runs, and data sets. A recipe tells who makes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from vgen.data.opening import DataConfig
from vgen.errors import InputError
from vgen.shipped import find
from vgen.train.config import TrainConfig, read_recipe

RESULTS = ("pretrained", "codec")  # keys of objectives that may name what another run has made


def check_results(config: TrainConfig, recipe: str | Path) -> None:
    """Refuses a run that starts from what another run has not made yet.

    Args:
        config: of the run.
        recipe: the file that it was read from; the recipe of the other run lies beside it.

    Raises:
        InputError: it names the recipe that makes what is missing, or what the recipe says that it needs.
    """
    for name in RESULTS:
        value = getattr(config.objective, name, None)
        if not value or Path(value).exists():
            continue
        if maker := recipe_of(value, Path(find(recipe)).parent):
            first = Path(recipe).with_name(maker.name)
            raise InputError(f"objective.{name}={value} is not there; train {first} first, which makes it")
        if Path(value).parts[0] == "runs":
            raise InputError(f"objective.{name}={value} is not there; {_needs(recipe)}")


def check_data(config: TrainConfig, recipe: str | Path) -> None:
    """Refuses a run whose data sets are not there.

    Args:
        config: of the run.
        recipe: the file that it was read from.

    Raises:
        InputError: it names the data set, and what the recipe says that it needs.
    """
    for name, data in data_sets(config.objective, "objective"):
        if data.dataset is not None and not Path(data.dataset).exists():
            raise InputError(f"{name}.dataset={data.dataset} is not there; {_needs(recipe)}")


def recipe_of(result: str | Path, folder: Path) -> Path | None:
    """The recipe in a folder whose run makes a result, such as runs/nano_codec/model/vae; None where none does."""
    for recipe in sorted(folder.glob("*.yaml")):
        try:
            run = read_recipe(recipe).get("run")
        except (InputError, OSError, YAMLError, OmegaConfBaseException):  # whatever else lies beside a recipe
            continue
        if isinstance(run, str) and Path(result).is_relative_to(run):
            return recipe
    return None


def _needs(recipe: str | Path) -> str:
    """What the comment at the head of a recipe says that it needs."""
    (head,) = re.findall(r"\A(?:#.*\n)*", Path(find(recipe)).read_text(encoding="utf-8"))
    lines = re.search(r"# Needs: (.*(?:\n# (?![A-Z][a-z]+: ).*)*)", head)
    if lines is None:
        return "`vgen record` records data sets, and docs/data.md says which folders of others can be read"
    said = " ".join(lines[1].replace("\n#", " ").split())
    return f"{Path(recipe).name} needs {said}"


def data_sets(value: Any, name: str) -> Iterator[tuple[str, DataConfig]]:
    """Every data set that a configuration names, with its dotted key, which begins with `name`."""
    if isinstance(value, DataConfig):
        yield name, value
    elif isinstance(value, list):
        for place, each in enumerate(value):
            yield from data_sets(each, f"{name}[{place}]")
    elif is_dataclass(value):
        for field in fields(value):
            yield from data_sets(getattr(value, field.name), f"{name}.{field.name}")
