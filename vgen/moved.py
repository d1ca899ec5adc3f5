"""Modules of version 0.1 under their old names: they are found still, with a DeprecationWarning, until version 0.3."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# Of each new room, the old modules that are in it now: by the new name, the old one, below vgen.
_ROOMS: dict[str, dict[str, str]] = {
    "trajectory": {
        "conventions": "ego.hands",
        "convert": "ego.convert",
        "edits": "ego.edits",
        "files": "ego.files",
        "layouts": "ego.layouts",
        "overlay": "ego.draw",
        "parquet": "ego.parquet",
        "places": "ego.motion",
        "recorded": "ego.recorded",
        "rotations": "ego.rotations",
        "statistics": "ego.normalise",
        "trajectory": "ego.trajectory",
        "units": "ego.units",
    },
    "canvas": {"placed": "canvas.media"},
    "ego": {"fourier": "ego.waves", "timed_attention": "ego.attention"},
    "state": {
        "action_heads": "ego.heads",
        "frame_encoder": "ego.vision",
        "language_model": "ego.trunk",
        "model": "ego.state_model",
        "predict": "ego.predict",
    },
    "inference": {
        "canvas": "canvas.make",
        "output": "data.output",
        "record": "backbone.record",
        "settings": "backbone.runtime",
    },
    "inference.ego": {
        "frames": "ego.play",
        "generate": "ego.answer",
        "inputs": "ego.prepare",
        "observation": "ego.view",
        "report": "ego.report",
        "run": "ego.make",
        "spec": "ego.question",
        "trajectories": "ego.drive",
    },
    "simulators": {
        "": "data.recorders",
        "cameras": "data.recorders.studio",
        "counterfactual": "data.recorders.counterfactual",
        "paths": "data.recorders.motion",
        "recording": "data.recorders.recording",
        "settings": "data.recorders.plan",
        "recorder": "data.recorders.filmed",
        "adroit.environment": "data.recorders.adroit_env",
        "adroit.hand": "data.recorders.adroit_hand",
        "adroit.recorder": "data.recorders.adroit",
        "adroit.settings": "data.recorders.adroit_plan",
        "metaworld.environment": "data.recorders.metaworld_env",
        "metaworld.recorder": "data.recorders.metaworld",
        "metaworld.settings": "data.recorders.metaworld_plan",
        "metaworld.tasks": "data.recorders.metaworld_tasks",
    },
    "data": {
        "bad_data": "data.bad",
        "encoded": "train.objectives.encoded",
        "membership": "train.objectives.membership",
        "opening": "train.objectives.data",
    },
    "data.cache": {
        "hashes": "data.hashes",
        "latents": "data.latents",
        "sealed": "data.sealed",
        "shard": "data.shard",
        "shares": "data.shares",
        "store": "data.store",
        "texts": "data.texts",
    },
    "data.lerobot": {
        "columns": "data.columns",
        "meta": "data.lerobot_meta",
        "pictures": "data.pictures",
        "rows": "data.lerobot_rows",
        "writer": "data.lerobot_writer",
    },
    "data.videos": {name: f"data.{name}" for name in ("captions", "folders", "tables")},
    "train": {"dry_run": "train.plan", "logs": "train.record"},
    "train.objectives": {"conditions": "train.objectives.plans"},
    "train.checkpoint": {name: f"train.{name}" for name in ("lock", "manifest", "resume", "unpickling")},
}
MOVED = {
    f"vgen.{old}": f"vgen.{room}.{name}".rstrip(".") for room, names in _ROOMS.items() for name, old in names.items()
} | {"vgen.canvas.yaml_file": "vgen.strict_yaml"}
"""The new module of each old one."""


def install() -> None:
    """Lets imports find the old modules. First in the line, since a package of a new room may have an old name."""
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Moved())


def names_in(old: str, new: str) -> Callable[[str], Any]:
    """The `__getattr__` of a package that was a module, whose names are in another module now.

    Args:
        old: the package.
        new: where its names are.
    """

    def find(name: str) -> Any:
        home = import_module(new)
        if name.startswith("_") or not hasattr(home, name):
            raise AttributeError(f"module {old!r} has no attribute {name!r}")
        _warn(f"{old}.{name}", f"{new}.{name}")
        return getattr(home, name)

    return find


class _Moved(MetaPathFinder, Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in MOVED:
            return None
        return ModuleSpec(fullname, self, is_package=any(old.startswith(f"{fullname}.") for old in MOVED))

    def exec_module(self, module: ModuleType) -> None:
        old, new = module.__name__, MOVED[module.__name__]
        _warn(old, new)
        moved = import_module(new)
        if module.__spec__ is not None and module.__spec__.submodule_search_locations is None:
            sys.modules[old] = moved


def _warn(old: str, new: str) -> None:
    told = f"{old} is {new} now; its old name goes with vgen 0.3"
    warnings.warn(told, DeprecationWarning, stacklevel=3)  # importlib's own frames do not count
