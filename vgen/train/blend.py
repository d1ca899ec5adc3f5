"""Weights between those of two models of one shape: what a fine-tune has learned, and less of what it has forgotten
(WiSE-FT: Wortsman et al., Robust fine-tuning of zero-shot models, arXiv 2109.01903, equation 2)."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vgen import checks
from vgen.errors import InputError, unknown_key
from vgen.files import PART
from vgen.models import read_config, resolve
from vgen.results import MODEL, check_folder, results_folder

WEIGHTS = "*.safetensors"


def blend(
    before: str | PathLike[str],
    after: str | PathLike[str],
    shares: Mapping[str, float],
    folder: Path,
    overwrite: bool = False,
) -> None:
    """Writes a model folder: that of `after`, some of whose components lie between the two models; its card says so.
    Written aside and renamed last.

    Args:
        before, after: models, as `vgen.models.resolve` takes them, whose files are here: such as nano and what a run
            made of it.
        shares: of each component that is blended, by the name of its folder, how far it goes from `before` to `after`,
            in [0, 1].
        folder: what to write.
        overwrite: replaces a model that lies there.

    Raises:
        InputError: there is no such model, or it is on the hub; a component is in neither or in one model alone, cannot
            be read, or has other weights there; a share outside [0, 1]; or the folder holds something.
    """
    check_folder(folder, MODEL, overwrite)
    before, after = _folder(before), _folder(after)
    read_config(str(after), "model_index.json")
    components = sorted(path.parent.name for path in after.glob(f"*/{WEIGHTS}"))
    for name in components:
        read_config(str(after), f"{name}/config.json")
    for name, share in shares.items():
        if name not in components:
            raise unknown_key(name, components, f"the components of {after}")
        checks.real(f"share of {name}", share, 0, 1)
    blended = {name: _between(before / name, after / name, share) for name, share in shares.items()}
    with results_folder(folder, MODEL, overwrite) as aside:
        shutil.copytree(after, aside, dirs_exist_ok=True, ignore=shutil.ignore_patterns(f".*{PART}"))  # `aside` itself
        for name, files in blended.items():
            for file, weights in files.items():
                save_file(weights, aside / name / file, metadata={"format": "pt"})
        with (aside / "README.md").open("a", encoding="utf-8") as card:
            card.write(f"\n## Blended\n\n{_told(before, after, shares)}\n")


def _folder(model: str | PathLike[str]) -> Path:
    folder = Path(model) if Path(model).is_dir() else Path(resolve(model))  # that of a codec has no index
    if not folder.is_dir():
        raise InputError(f"model {str(model)!r} is no folder here, and a blend needs all its files; download it first")
    return folder


def _told(before: Path, after: Path, shares: Mapping[str, float]) -> str:
    """What the card says of a blend; folders of runs are named by the run."""
    folders = before.absolute(), after.absolute()
    one, other = (path.parent.name if path.name == "model" else path.name for path in folders)
    parts = ", ".join(f"{name} {share:g}" for name, share in shares.items())
    return f"Of the way from {one} to {other} (WiSE-FT): {parts}. All else is {other}'s."


def _between(before: Path, after: Path, share: float) -> dict[str, dict[str, Tensor]]:
    """The blended weights of one component, by the files of `after`."""
    earlier = {key: value for file in before.glob(WEIGHTS) for key, value in _read(file).items()}
    later = {file.name: _read(file) for file in after.glob(WEIGHTS)}
    shapes = {key: value.shape for weights in later.values() for key, value in weights.items()}
    if shapes != {key: value.shape for key, value in earlier.items()}:
        raise InputError(f"{before} and {after} have other weights; blend two models of one shape")
    return {file: {key: _mean(earlier[key], value, share) for key, value in w.items()} for file, w in later.items()}


def _read(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{file} cannot be read: {error}") from error


def _mean(earlier: Tensor, later: Tensor, share: float) -> Tensor:
    return ((1 - share) * earlier.float() + share * later.float()).to(later.dtype)
