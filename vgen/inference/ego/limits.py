"""What a model asks of a rollout, from its configuration files, without loading it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vgen.errors import InputError, unknown_key
from vgen.inference.settings import Limits, read_limits
from vgen.models import read_config, resolve
from vgen.trajectory.layouts import LAYOUTS
from vgen.trajectory.statistics import Statistics, kept_statistics

EGO, STATE = "ego", "state"  # folders of a model: the front-end, and Stage I
HOW = {
    EGO: "no ego front-end: it has no ego/; use nano, or train one with configs/train/nano_ego.yaml",
    STATE: "no Stage I: it has no state/; use nano, or train one with configs/train/nano_state.yaml",
}


def parts_of(mode: str) -> tuple[str, ...]:
    """The parts of a model folder that a mode uses, beside the backbone's."""
    return {"forward": (EGO,), "policy": (EGO, STATE), "inverse": (STATE,)}[mode]


@dataclass(frozen=True)
class EgoLimits:
    """What a model asks of a rollout.

    Attributes:
        model: as the user names it.
        base: frame size and strides.
        layouts: that the parts which are to be used know.
        rates: frames, and so actions, per second of the video of each layout.
        statistics: of each layout, how its actions are normalised, as plain JSON; those of the front-end, or of Stage I
            where that is used alone.
        state_rates: steps per second of Stage I of each layout.
        history: known frames that the front-end was trained with at most.
        horizon, states: how many steps Stage I predicts at once, from how many frames.
    """

    model: str
    base: Limits
    layouts: tuple[str, ...]
    rates: Mapping[str, float]
    statistics: Mapping[str, Mapping[str, Any]]
    state_rates: Mapping[str, float]
    history: int = 4
    horizon: int = 0
    states: int = 0

    def choose(self, layout: str | None) -> str:
        """The layout that is asked for, or the only one.

        Raises:
            InputError: the model does not know it, or knows several and none is asked for.
        """
        if layout is None and len(self.layouts) != 1:
            known = ", ".join(self.layouts)
            raise InputError(f"the model knows {len(self.layouts)} layouts; choose one with --layout: {known}")
        if layout is not None and layout not in self.layouts:
            raise unknown_key(layout, self.layouts, f"the layouts of model {self.model}")
        return layout or self.layouts[0]

    def rate(self, layout: str) -> float:
        """Frames, and so actions, per second of the video; that of the layout's sources where the model is silent."""
        return float(self.rates.get(layout) or LAYOUTS[layout].rate)

    def state_rate(self, layout: str) -> float:
        """Steps per second of Stage I.

        Raises:
            InputError: it does not say.
        """
        if layout not in self.state_rates:
            raise unknown_key(layout, self.state_rates, f"the rates of Stage I of model {self.model}")
        return float(self.state_rates[layout])

    def statistics_of(self, layout: str) -> Statistics:
        """How actions of a layout of the model are normalised, and so in which form they enter.

        Raises:
            InputError: it has none.
        """
        return Statistics.from_json(kept_statistics(self.statistics, layout))


def read_ego_limits(model: str, parts: tuple[str, ...]) -> EgoLimits:
    """The limits of a model.

    Args:
        model: "nano", a diffusers folder or a hub id.
        parts: `EGO`, `STATE` or both: those that are to be used.

    Raises:
        InputError: there is no such model, or it lacks a part.
    """
    folder, base = resolve(model), read_limits(model)
    ego, state = (_config(model, folder, part) if part in parts else {} for part in (EGO, STATE))
    known = [set(config["layouts"]) for config in (ego, state) if config]
    return EgoLimits(
        model,
        base,
        tuple(sorted(set.intersection(*known))),
        ego.get("rates") or {},
        ego.get("statistics") or state.get("statistics", {}),
        state.get("rates", {}),
        ego.get("history", 4),
        state.get("horizon", 0),
        state.get("states", 0),
    )


def _config(model: str, folder: str, part: str) -> dict[str, Any]:
    if Path(folder).is_dir() and not Path(folder, part, "config.json").is_file():
        raise InputError(f"model {model!r} has {HOW[part]}")
    config = read_config(folder, f"{part}/config.json")
    if not isinstance(config, dict) or not isinstance(config.get("layouts"), dict):
        raise InputError(f"model {model!r}: {part}/config.json names no layouts; it is damaged")
    return config
