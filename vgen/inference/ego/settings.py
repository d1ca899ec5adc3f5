"""The settings of a rollout's run: what `tools/rollout.py` takes of a model."""

from __future__ import annotations

from dataclasses import dataclass

from vgen import checks
from vgen.inference.settings import RunSettings

MAX_ADVANCE, MAX_WINDOW = 1024, 256


@dataclass(frozen=True)
class Settings(RunSettings):
    """How a model is run on a question. The guidance is that of the actions.

    Attributes:
        model: "nano", a diffusers folder or a hub id.
        advance: Pixel frames per step of the rollout: 1, or a multiple of the codec's temporal stride.
        window: How many past frames are conditions; as many as the model was trained with, when None.

    Raises:
        InputError: a value breaks its rule.
    """

    model: str = "nano"
    advance: int = 4
    window: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.whole("advance", self.advance, 1, MAX_ADVANCE)
        if self.window is not None:
            checks.whole("window", self.window, 1, MAX_WINDOW)
