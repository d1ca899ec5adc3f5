"""Models by name (nano, local diffusers folders, hub ids), and what they say of themselves without being loaded."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError
from tqdm import tqdm

from vgen import checks
from vgen.errors import InputError, unknown_key
from vgen.files import file_sha256

if TYPE_CHECKING:
    from vgen.backbone.pipeline import VideoPipeline

INSTALLED = Path(__file__).parent / "weights"
EGO, STATE = "ego", "state"  # parts of a model folder beside the backbone's: the ego front-end, and Stage I
MISSING = {
    EGO: "no ego front-end: it has no ego/; use nano, or train one with configs/train/nano_ego.yaml",
    STATE: "no Stage I: it has no state/; use nano, or train one with configs/train/nano_state.yaml",
}


def resolve(model: str | PathLike) -> str:
    """What diffusers' `from_pretrained` takes: the folder of "nano", a local folder, or a hub id as it is.

    A local folder goes before a hub id of the same spelling, and what lies in a folder that is here is no hub id.

    Raises:
        InputError: it is none of them; a folder must hold a model_index.json.
    """
    name = str(model)
    folder = INSTALLED / name if name in installed() else Path(name)
    if name and (folder / "model_index.json").is_file():
        return str(folder)
    if name and folder.exists():
        raise InputError(f"model {name!r} is no diffusers folder: it has no model_index.json")
    if Path(name).parts[:1] == ("runs",):
        raise InputError(f"model {name!r} is not there: no run has made it yet; train it, or name another model")
    if is_hub_id(name):
        return name
    if "/" in name:
        raise InputError(f"model {name!r}: there is no such folder; {_beside(folder)}")
    near = difflib.get_close_matches(name, installed(), n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    known = ", ".join(installed()) or "none is installed"
    raise InputError(f"model {name!r} is no installed model ({known}), no folder and no hub id as owner/name{hint}")


def _beside(folder: Path) -> str:
    """What there is in place of a folder that is missing: the parent's others, or the nearest parent."""
    parent = next(parent for parent in folder.parents if parent.is_dir())
    names = sorted(path.name for path in parent.glob("*/")) if parent == folder.parent else []
    near = difflib.get_close_matches(folder.name, names, n=1)
    return f"nearest: {parent / near[0]}" if near else f"the nearest that is there is {parent.absolute()}"


def installed() -> list[str]:
    """The names of the models that come with the package."""
    return sorted(index.parent.name for index in INSTALLED.glob("*/model_index.json"))


def is_hub_id(name: str) -> bool:
    """Whether a name looks like owner/name of the hub, and not like a place in a folder that is here."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", name) is not None and not Path(name).parent.is_dir()


def read_config(model: str, file: str) -> dict[str, Any]:
    """A JSON file of a model, such as vae/config.json, without loading the model.

    Args:
        model: As `resolve` returns it. Of a hub id, only this file is downloaded, once.
        file: Its place in the diffusers folder.

    Raises:
        InputError: the file is not there, or holds no JSON object.
    """
    path = Path(model, file) if Path(model).is_dir() else _download(model, file)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"model {model!r}: cannot read {file}: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(config, dict):
        raise InputError(f"model {model!r}: {file} is damaged: it must hold a JSON object")
    return config


@contextmanager
def loading(model: str | PathLike) -> Iterator[None]:
    """Around what reads a model with a library's own code: whatever that raises is said in one line.

    Args:
        model: As messages are to name it.

    Raises:
        InputError: the model cannot be loaded.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # of any type: the libraries trust what configurations and weights say
        said = f"{type(error).__name__}: {error}"
        if "weights_only" in said:  # torch's advice to trust a pickle all the same
            said = "its weights are a pickle of more than tensors, or a damaged one; take those in safetensors"
        raise InputError(f"model {str(model)!r} cannot be loaded: {' '.join(said.split())[:300]}") from error


def component_folder(model: str, name: str) -> Path:
    """The local folder of one component of a model, such as "vae".

    Args:
        model: As `resolve` returns it. Of a hub id, the component is downloaded, once.
        name: Of the component.

    Raises:
        InputError: the model has no such component, or it cannot be downloaded.
    """
    folder = Path(model)
    if not folder.is_dir():
        try:
            folder = Path(snapshot_download(model, allow_patterns=f"{name}/*"))
        except (OSError, ValueError) as error:
            raise _not_got(model, name, error) from error
    if not (folder / name).is_dir():
        raise InputError(f"model {model!r} has no {name}")
    return folder / name


def fingerprint(model: str, beside: Sequence[str] = ()) -> str:
    """What tells a model from any other: the commit of a hub model, the SHA-256 of a folder's components.

    Args:
        model: As `resolve` returns it.
        beside: Components that count too, where they are there, though the model's index does not name them.

    Raises:
        InputError: a file cannot be read.
    """
    if not Path(model).is_dir():
        return _download(model, "model_index.json").parent.name
    named = [*read_config(model, "model_index.json"), *beside]
    parts = [name for name in dict.fromkeys(named) if Path(model, name).is_dir()]
    files = sorted(file for part in parts for file in Path(model, part).rglob("*") if file.is_file())
    large = sum(file.stat().st_size for file in files) > 2**30
    digest = hashlib.sha256()
    for file in tqdm([Path(model, "model_index.json"), *files], desc="hashing the model", disable=not large):
        digest.update(f"{file.relative_to(model).as_posix()} {file_sha256(file)}\n".encode())
    return digest.hexdigest()


def _download(model: str, file: str) -> Path:
    """A file of a hub model, from the cache where it is there."""
    try:
        return Path(hf_hub_download(model, file))
    except (OSError, ValueError) as error:
        raise _not_got(model, file, error) from error


def _not_got(model: str, part: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:200]
    if isinstance(error, LocalEntryNotFoundError):  # its own text is a paragraph about proxies
        reason = "it is no folder here, and the hub cannot be reached"
    return InputError(f"model {model!r}: cannot get {part}: {reason}")


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
            *(checks.whole(f"{where}: {name}", config.get(name, 0), 0, 10**6) for name in ("horizon", "states")),
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
        ego, state: its parts that know trajectories; None where it has none, or where they were not asked for.
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
    ego: PartInfo | None = None
    state: PartInfo | None = None

    @classmethod
    def read(cls, model: str | PathLike, parts: Sequence[str] | None = None) -> Self:
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
        components = (read_config(folder, f"{component}/config.json") for component in ("vae", "transformer"))
        configs = {part: read_config(folder, f"{part}/config.json") for part in parts}
        return cls._of_configs(name, read_config(folder, "model_index.json"), *components, configs)

    @classmethod
    def of(cls, pipe: VideoPipeline) -> Self:
        """What a loaded pipeline says, of its front-end too where it has one."""
        ego = getattr(pipe, EGO, None)
        parts = {} if ego is None else {EGO: ego.config}
        name = str(pipe.name_or_path or "in memory")
        return cls._of_configs(name, pipe.config, pipe.vae.config, pipe.transformer.config, parts)

    @classmethod
    def _of_configs(
        cls,
        model: str,
        index: Mapping[str, Any],
        codec: Mapping[str, Any],
        transformer: Mapping[str, Any],
        parts: Mapping[str, Mapping[str, Any]],
    ) -> Self:
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
            **{part: PartInfo.from_config(part, config, model) for part, config in parts.items()},
        )

    @property
    def size_multiple(self) -> int:
        """Height and width of a video are multiples of it."""
        return self.spatial_stride * self.patch

    @property
    def layouts(self) -> list[str]:
        """The trajectory layouts that all parts know, which were asked for."""
        known = [set(part.layouts) for part in (self.ego, self.state) if part is not None]
        return sorted(set.intersection(*known)) if known else []

    def statistics_of(self, layout: str) -> Mapping[str, Any]:
        """As `PartInfo.statistics_of`: of the front-end, or of Stage I where that alone was asked for.

        Raises:
            InputError: as there.
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
            raise InputError(f"the model knows {len(self.layouts)} layouts; choose one with --layout: {known}")
        if layout is not None and layout not in self.layouts:
            raise unknown_key(layout, self.layouts, f"the layouts of model {self.model}")
        return layout or self.layouts[0]


def check_part(model: str, folder: str, part: str) -> None:
    """Refuses a local folder without a part; of a hub model that shows when the part is read.

    Args:
        model: as the user names it.
        folder: as `resolve` returns it.
        part: `EGO` or `STATE`.

    Raises:
        InputError: it says where the part comes from.
    """
    if Path(folder).is_dir() and not Path(folder, part, "config.json").is_file():
        raise InputError(f"model {model!r} has {MISSING[part]}")
