"""Where models are (nano, local diffusers folders, hub ids), and the files that lie there."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError
from tqdm import tqdm

from vgen.errors import InputError
from vgen.files import file_sha256

INSTALLED = Path(__file__).parents[1] / "weights"
OWN = "_vgen"  # of a configuration, where keys lie that diffusers does not know: it passes over what is private
PLACES = frozenset({"_name_or_path", "name_or_path"})
EGO, STATE = "ego", "state"  # parts of a model folder beside the backbone's: the ego front-end, and Stage I
MISSING = {
    EGO: "no ego front-end: it has no ego/; use nano, or train one with configs/train/nano_ego.yaml",
    STATE: "no Stage I: it has no state/; use nano, or train one with configs/train/nano_state.yaml",
}


def resolve(model: str | PathLike[str]) -> str:
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


def join_own(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration of diffusers with vgen's own keys among the others; of version 0.1.0 they are there already.

    Raises:
        InputError: what lies under `OWN` is no mapping.
    """
    own = config.get(OWN, {})
    if not isinstance(own, Mapping):
        raise InputError(f"a model's configuration is damaged: its {OWN} must hold a JSON object")
    return {**own, **{key: value for key, value in config.items() if key != OWN}}


def part_own(config: Mapping[str, Any], own: Collection[str]) -> dict[str, Any]:
    """The inverse of `join_own`, of a configuration that is to be written, and without the place that it came from."""
    others = {key: value for key, value in config.items() if key not in (*own, *PLACES)}
    return others | {OWN: {key: config[key] for key in sorted(own) if key in config}}


def forget_places(folder: str | PathLike[str]) -> None:
    """Removes from the configurations below a folder where each component was loaded from, which the libraries write
    there."""
    for file in [*Path(folder).glob("model_index.json"), *Path(folder).rglob("*config.json")]:
        config = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(config, dict) and config.keys() & PLACES:
            kept = {key: value for key, value in config.items() if key not in PLACES}
            file.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@contextmanager
def loading(model: str | PathLike[str]) -> Iterator[None]:
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
        digest.update(f"{file.relative_to(model).as_posix()} {_content_sha256(file)}\n".encode())
    return digest.hexdigest()


def _content_sha256(file: Path) -> str:
    """The SHA-256 of a file; of a configuration with keys of vgen's own as version 0.1.0 wrote it, whose run.json holds
    such hashes."""
    if file.name in ("model_index.json", "config.json"):
        config = json.loads(file.read_bytes())
        if isinstance(config, dict) and OWN in config:
            text = json.dumps(join_own(config), indent=2, sort_keys=True) + "\n"
            return hashlib.sha256(text.encode()).hexdigest()
    return file_sha256(file)


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
