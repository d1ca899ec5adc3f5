"""What a model says of itself, from its folder or from a loaded pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from vgen import checks
from vgen.errors import InputError, unknown_key
from vgen.models.folders import EGO, STATE, check_part, join_own, read_config, resolve
from vgen.models.training_range import TrainingRange

if TYPE_CHECKING:
    from vgen.backbone.pipeline import VideoPipeline

MUCH_WORK = 16  # times the tokens that a model makes by itself: from seconds to minutes on a CPU


@dataclass(frozen=True)
class PartInfo:
    """What a part of a model that knows trajectories, `ego/` or `state/`, says of itself.

    Attributes:
        part: `EGO` or `STATE`.
        layouts: of each trajectory layout that it knows, by name, the number of columns that the network reads.
        rates: frames of video, or steps of Stage I, and so actions, per second that each layout was trained at.
        statistics: of each layout, how its actions are normalised, as plain JSON (`Statistics.to_json`).
        history: known frames, or past actions of Stage I, that it was trained with at most.
        horizon, states: of Stage I: how many steps it predicts at once, from how many frames; 0 of the front-end.
        guidance: of the front-end: classifier-free guidance over the actions where a rollout does not say.
        anchor: of the front-end: whether a rollout keeps its first frame.
    """

    part: str
    layouts: Mapping[str, int]
    rates: Mapping[str, float]
    statistics: Mapping[str, Mapping[str, Any]]
    history: int
    horizon: int = 0
    states: int = 0
    guidance: float = 1.0
    anchor: bool = False

    @classmethod
    def from_config(cls, part: str, config: Mapping[str, Any], model: str = "in memory") -> Self:
        """What the configuration of a part says.

        Args:
            part: `EGO` or `STATE`.
            config: of `ego/config.json` or `state/config.json`, or of the loaded part.
            model: as messages are to name it.

        Raises:
            InputError: it is damaged.
        """
        where = f"model {model!r}: {part}/config.json"
        if not isinstance(config.get("layouts"), Mapping):
            raise InputError(f"{where} names no layouts; it is damaged")
        rates, statistics = (config.get(name) or {} for name in ("rates", "statistics"))
        for name, kept in (("rates", rates), ("statistics", statistics)):
            if not isinstance(kept, Mapping):
                raise InputError(f"{where}: {name}={checks.show(kept)} is no mapping of layouts; it is damaged")
        return cls(
            part,
            config["layouts"],
            {name: checks.real(f"{where}: rate of {name}", rate, 1e-3, 1e5) for name, rate in rates.items()},
            statistics,
            checks.whole(f"{where}: history", config.get("history", 4), 1, 10**6),
            checks.whole(f"{where}: horizon", config.get("horizon", 0), 0, 10**6),
            checks.whole(f"{where}: states", config.get("states", 0), 0, 10**6),
            checks.real(f"{where}: guidance", config.get("guidance", 1.0)),
            bool(config.get("anchor", False)),
        )

    def rate(self, layout: str) -> float:
        """Actions per second that a layout was trained at, of which each frame or step has one.

        Raises:
            InputError: the model does not know the layout, or does not say; a guess would play it at another speed.
        """
        return rate_of(self.part, self.layouts, self.rates, layout)

    def statistics_of(self, layout: str) -> Mapping[str, Any]:
        """How actions of a layout are normalised, and so in which form they enter, as plain JSON.

        Raises:
            InputError: the model does not know the layout, or has no statistics of it.
        """
        if layout not in self.layouts:
            raise unknown_key(layout, self.layouts, "the layouts of this model")
        if not self.statistics.get(layout):
            known = ", ".join(sorted(name for name, kept in self.statistics.items() if kept)) or "none"
            raise InputError(f"layout {layout!r} has no statistics in this model; layouts that have: {known}")
        return self.statistics[layout]


def rate_of(part: str, layouts: Mapping[str, int], rates: Mapping[str, float], layout: str) -> float:
    """See `PartInfo.rate`."""
    if layout not in layouts:
        raise unknown_key(layout, layouts, "the layouts of this model")
    if layout not in rates:
        rule = f'write that which it was trained at into its {part}/config.json, such as "rates": {{"{layout}": 15}}'
        raise InputError(f"layout {layout!r} has no rate in this model, its actions per second; {rule}")
    return float(rates[layout])


@dataclass(frozen=True)
class ModelInfo:
    """What a model asks of a video and a trajectory, and what it uses where a call does not say.

    Attributes:
        model: as the user names it.
        temporal_stride: N of the codec; a video has 1 + N·k frames.
        spatial_stride: S of the codec, pixels along a side of a latent pixel.
        patch: latent pixels along a side of a token.
        frames, height, width: of the videos that it was trained on.
        steps, guidance: of denoising, and of the text.
        prompt: that it reads for pictures which come without one; "" is nothing.
        ego, state: its parts that know trajectories; None where it has none, or where they were not asked for.
        trained: what it was trained on; None where its folder does not say, or is on the hub.
    """

    model: str
    temporal_stride: int
    spatial_stride: int
    patch: int
    frames: int
    height: int
    width: int
    steps: int
    guidance: float
    prompt: str = ""
    ego: PartInfo | None = None
    state: PartInfo | None = None
    trained: TrainingRange | None = None

    @classmethod
    def read(cls, model: str | PathLike[str], parts: Sequence[str] | None = None) -> Self:
        """Reads the configuration files of a model; no weights are loaded.

        Args:
            model: "nano", a diffusers folder or a hub id.
            parts: `EGO`, `STATE`, both or none: those that the model must have; None: those that its folder has.

        Raises:
            InputError: there is no such model, it lacks a part, or a file of it is damaged.
        """
        name, folder = str(model), resolve(model)
        if parts is None:
            parts = [part for part in (EGO, STATE) if Path(folder, part, "config.json").is_file()]
        for part in parts:
            check_part(name, folder, part)
        vae, transformer = (read_config(folder, f"{component}/config.json") for component in ("vae", "transformer"))
        configs = {part: read_config(folder, f"{part}/config.json") for part in parts}
        trained = TrainingRange.read(folder, name)
        return cls._of_configs(name, read_config(folder, "model_index.json"), vae, transformer, configs, trained)

    @classmethod
    def of(cls, pipe: VideoPipeline) -> Self:
        """What a loaded pipeline says, of its front-end too where it has one."""
        ego = getattr(pipe, EGO, None)
        parts = {} if ego is None else {EGO: ego.config}
        name = str(pipe.name_or_path or "in memory")
        return cls._of_configs(name, pipe.config, pipe.vae.config, pipe.transformer.config, parts, pipe.trained)

    @classmethod
    def _of_configs(
        cls,
        model: str,
        index: Mapping[str, Any],
        codec: Mapping[str, Any],
        transformer: Mapping[str, Any],
        parts: Mapping[str, Mapping[str, Any]],
        trained: TrainingRange | None,
    ) -> Self:
        index = join_own(index)
        patch = transformer.get("patch_size", (1, 2, 2))
        if not isinstance(patch, list | tuple) or len(patch) != 3:
            raise InputError(f"model {model!r}: patch_size={checks.show(patch)} must be three whole numbers")

        def size(value: object, name: str, most: int) -> int:
            return checks.whole(f"model {model!r}: {name}", value, 1, most)

        return cls(
            model,
            size(codec.get("scale_factor_temporal", 4), "scale_factor_temporal", 64),
            size(codec.get("scale_factor_spatial", 8), "scale_factor_spatial", 256),
            size(patch[1], "patch_size", 64),
            size(index.get("default_frames", 77), "default_frames", 10**6),
            size(index.get("default_height", 384), "default_height", 10**6),
            size(index.get("default_width", 672), "default_width", 10**6),
            size(index.get("default_steps", 50), "default_steps", 10**6),
            checks.real(f"model {model!r}: default_guidance", index.get("default_guidance", 7.5)),
            checks.text(f"model {model!r}: default_prompt", index.get("default_prompt", "")),
            **{part: PartInfo.from_config(part, config, model) for part, config in parts.items()},
            trained=trained,
        )

    @property
    def size_multiple(self) -> int:
        """Height and width of a video are multiples of it."""
        return self.spatial_stride * self.patch

    def work_line(self, frames: int, height: int, width: int) -> str:
        """What to expect of a video, or of each segment of a longer one, that is far larger than those that the model
        makes by itself; "" of another one."""
        times = self._tokens(frames, height, width) / self._tokens(self.frames, self.height, self.width)
        if times < MUCH_WORK:
            return ""
        usual = f"{self.frames} frames of {self.height}x{self.width}"
        return (
            f"{frames} frames of {height}x{width} are {times:,.0f} times the tokens of {usual}, which {self.model} "
            "makes by itself: on a CPU they take as many times as long or more, and more memory"
        )

    def _tokens(self, frames: int, height: int, width: int) -> int:
        side = self.size_multiple
        return (1 + (frames - 1) // self.temporal_stride) * max(1, height // side) * max(1, width // side)

    @property
    def layouts(self) -> list[str]:
        """The trajectory layouts that all parts know, which were asked for."""
        known = [set(part.layouts) for part in (self.ego, self.state) if part is not None]
        return sorted(set.intersection(*known)) if known else []

    def statistics_of(self, layout: str) -> Mapping[str, Any]:
        """The statistics of a layout: those of the front-end, or of Stage I where that alone was asked for.

        Raises:
            InputError: the layout is not known, or has none.
        """
        part = self.ego or self.state
        assert part is not None, "no part that knows trajectories was asked for"
        return part.statistics_of(layout)

    def choose_layout(self, layout: str | None = None) -> str:
        """The layout that is asked for, or the only one.

        Raises:
            InputError: the model does not know it, or knows several or none and none is asked for.
        """
        if layout is None and len(self.layouts) != 1:
            known = ", ".join(self.layouts) or "none"
            raise InputError(
                f"the model knows {len(self.layouts)} layouts; choose one with --layout, in Python layout=: {known}"
            )
        if layout is not None and layout not in self.layouts:
            raise unknown_key(layout, self.layouts, f"the layouts of model {self.model}")
        return layout or self.layouts[0]
