"""Data sets of others, to LeRobot v3: a converter for each, and the one way that all of them are converted."""

from __future__ import annotations

import ast
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from vgen.errors import InputError, unknown_key

if TYPE_CHECKING:
    from vgen.sources.source import Reading, Source

SOURCES = {
    "folder": "vgen.sources.folder:FolderSource",
    "lerobot21": "vgen.sources.lerobot21:LeRobot21Source",
    "bridge": "vgen.sources.bridge:BridgeSource",
    "bridge_rlds": "vgen.sources.bridge_rlds:BridgeRldsSource",
    "rlbench": "vgen.sources.rlbench:RLBenchSource",
    "ego4d": "vgen.sources.ego4d:Ego4DSource",
    "egodex": "vgen.sources.egodex:EgoDexSource",
    "hot3d": "vgen.sources.hot3d:Hot3DSource",
    "arctic": "vgen.sources.arctic:ArcticSource",
    "hands": "vgen.sources.hands.source:HandsSource",
    "robosuite": "vgen.sources.robosuite:RobosuiteSource",
    "libero": "vgen.sources.libero:LiberoSource",
}
"""Where the converter of each source is: module:class. They are imported when they are asked for."""

NEEDS = {
    "egodex": ("h5py", "egodex"),
    "robosuite": ("mujoco", "sources"),
    "libero": ("mujoco", "sources"),
}
"""Of sources that read with a further package: the module that must be there, and the extra that brings it."""


def kind(name: str) -> type[Source]:
    """The class of a source.

    Raises:
        InputError: there is no such source, or a package that it reads with is not installed.
    """
    if name not in SOURCES:
        raise unknown_key(name, SOURCES, "the sources")
    if missing := missing_extra(name):
        raise InputError(f"{name} needs packages that are not installed: {missing}")
    module, _, of_it = SOURCES[name].partition(":")
    found: type[Source] = getattr(import_module(module), of_it)
    return found


def open_source(name: str, reading: Reading) -> Source:
    """A source of which a folder is read.

    Raises:
        InputError: as `kind`; an option that the source does not know; or the folder is none of this source.
    """
    found = kind(name)
    for option in reading.more:
        if option not in found.options:
            raise unknown_key(option, found.options, f"the options of {name}")
    if not reading.folder.is_dir():
        raise InputError(f"{reading.folder} is no folder; give one that is there with --from ({name})")
    return found(reading)


def missing_extra(name: str) -> str:
    """How to install what a source lacks, such as `pip install "vgen[egodex]"`; "" where it lacks nothing."""
    module, extra = NEEDS.get(name, ("", ""))
    return f'pip install "vgen[{extra}]"' if module and find_spec(module) is None else ""


def summary(name: str) -> str:
    """What a source is, in the first sentence of its module, which is read and not imported; and what is not installed
    of it."""
    spec = find_spec(SOURCES[name].partition(":")[0])
    if spec is None or spec.origin is None:
        return "not in this version"
    about = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    sentence = " ".join(about.split("\n\n")[0].split())
    missing = missing_extra(name)
    return f"{sentence} Needs {missing}" if missing else sentence
