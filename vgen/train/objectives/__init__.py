"""What can be trained: each objective owns its inputs and its loss."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from vgen.errors import InputError
from vgen.train.objectives.base import Objective

__all__ = ["OBJECTIVES", "Objective", "objective_class"]

# Imported when asked for, because each pulls in its own models.
OBJECTIVES = {
    "canvas": "vgen.train.objectives.canvas:CanvasObjective",
    "codec": "vgen.train.objectives.codec:CodecObjective",
    "ego": "vgen.train.objectives.ego:EgoObjective",
    "state": "vgen.train.objectives.state:StateObjective",
}


def objective_class(name: str) -> type[Objective[Any]]:
    """The class registered under `name`; InputError names the known ones."""
    if name not in OBJECTIVES:
        raise InputError(f"objective.name={name} is not known; choose one of: {', '.join(OBJECTIVES)}")
    module, attribute = OBJECTIVES[name].split(":")
    return getattr(import_module(module), attribute)
