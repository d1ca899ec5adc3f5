"""vgen: one latent video diffusion backbone, two conditioning front-ends: canvas and ego.

The names below are imported when they are first used, so that `import vgen` itself takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from vgen import moved

if TYPE_CHECKING:
    from vgen.canvas import tasks
    from vgen.canvas.pipeline import CanvasPipeline
    from vgen.canvas.spec import Canvas
    from vgen.ego.world import EgoWorld
    from vgen.media.patch import Patch
    from vgen.media.writing import write_video
    from vgen.models import ModelInfo
    from vgen.trajectory.files import read_trajectory, write_trajectory
    from vgen.trajectory.trajectory import Trajectory

__version__ = "0.2.0"

__all__ = [
    "Canvas",
    "CanvasPipeline",
    "EgoWorld",
    "ModelInfo",
    "Patch",
    "Trajectory",
    "__version__",
    "read_trajectory",
    "tasks",
    "write_trajectory",
    "write_video",
]

_HOMES = {
    "Canvas": "vgen.canvas.spec",
    "CanvasPipeline": "vgen.canvas.pipeline",
    "EgoWorld": "vgen.ego.world",
    "ModelInfo": "vgen.models",
    "Patch": "vgen.media.patch",
    "Trajectory": "vgen.trajectory.trajectory",
    "read_trajectory": "vgen.trajectory.files",
    "tasks": "vgen.canvas",
    "write_trajectory": "vgen.trajectory.files",
    "write_video": "vgen.media.writing",
}

moved.install()


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'vgen' has no attribute {name!r}")
    home = import_module(_HOMES[name])
    if name == "tasks":
        return import_module("vgen.canvas.tasks")
    return getattr(home, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
