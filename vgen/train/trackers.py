"""wandb and trackio, whose calls are the same: the numbers and samples of a run on a web page, if a recipe asks."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vgen.errors import InputError, unknown_key
from vgen.files import write_whole

PACKAGES = ("wandb", "trackio")


def check_trackers(names: Sequence[str]) -> None:
    """Refuses trackers that are not known or not installed.

    Raises:
        InputError: it says what to install.
    """
    for name in names:
        if name not in PACKAGES:
            raise unknown_key(name, PACKAGES, "trackers")
        if find_spec(name) is None:
            raise InputError(f"trackers={name} needs the package {name}; pip install {name}, or leave it out")


class WebTracker:
    """A tracker (see `vgen.train.logs`) of wandb or trackio. A resumed run goes on in the same one.

    Args:
        package: "wandb" or "trackio".
        project: under which the page shows it.
        run: the run folder. Its name is the run's, followed by a few letters that are kept in `<run>/tracked_as`, so
            that another run in a folder of this name is another one there, too.
        config: of the run, shown beside it.
    """

    def __init__(self, package: str, project: str, run: Path, config: Mapping[str, Any]) -> None:
        self._package = import_module(package)
        name = _tracked_as(run)
        own = {"id": name, "dir": str(run)} if package == "wandb" else {}
        self._package.init(project=project, name=name, config=dict(config), resume="allow", **own)

    def write(self, step: int, values: Mapping[str, float], kind: str) -> None:
        """One entry; `kind` comes before the name of each value."""
        self._package.log({f"{kind}/{name}": value for name, value in values.items()}, step=step)

    def show(self, step: int, name: str, folder: Path) -> None:
        """A sample: the video and the contact sheet in its folder."""
        video = self._package.Video(str(folder / "video.mp4"), caption=name, format="mp4")
        sheet = self._package.Image(str(folder / "contact_sheet.png"), caption=name)
        self._package.log({f"samples/{name}": video, f"samples/{name}_sheet": sheet}, step=step)

    def close(self) -> None:
        """Sends what is left."""
        self._package.finish()


def _tracked_as(run: Path) -> str:
    file = run / "tracked_as"
    if not file.exists():
        write_whole(file, f"{run.resolve().name}-{uuid.uuid4().hex[:8]}\n")
    return file.read_text().strip()
