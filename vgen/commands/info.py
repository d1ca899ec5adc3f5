"""Tell what is installed and what this machine can do; with the name of a model, what it is.

    vgen info
    vgen info nano
    vgen info my_model --json

A model is described from its configuration files and the heads of its weights; nothing is loaded.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vgen import __version__
from vgen.commands.options import make_parser
from vgen.errors import Parser
from vgen.files import package_versions

if TYPE_CHECKING:
    from vgen.models import PartInfo, TrainingRange

NEEDED = ("torch", "diffusers", "transformers", "decord2", "av")
OPTIONAL = {
    "deepspeed": "training",
    "tensorboard": "the log of a run as TensorBoard shows it",
    "metaworld": "vgen record metaworld",
    "gymnasium-robotics": "vgen record adroit",
    "xformers": "attention=xformers",
    "flash-attn": "attention=flash",
    "sageattention": "attention=sage",
}
PARTS = ("ego", "state")  # of a model folder, beside those that its index names


def parser() -> Parser:
    """The options."""
    parser = make_parser("info", __doc__)
    parser.add_argument("model", nargs="?", help="nano, a diffusers folder or a hub id")
    parser.add_argument("--json", action="store_true", help="for programs")
    return parser


def describe_machine() -> dict[str, Any]:
    """What is installed, and what can run here, as plain JSON."""
    import torch

    from vgen.inference.settings import ATTENTIONS, attention_refusal
    from vgen.models import installed

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    devices = {f"cpu ({os.cpu_count()} cores)": _gib(memory)}
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        devices[f"cuda:{index} ({device.name})"] = _gib(device.total_memory)
    optional = package_versions(OPTIONAL)
    return {
        "versions": {"vgen": __version__, "python": platform.python_version()} | package_versions(NEEDED),
        "devices": devices,
        "attention": {name: attention_refusal(name) or "runs here" for name in ATTENTIONS},
        "optional packages": {n: found or f"not installed; for {OPTIONAL[n]}" for n, found in optional.items()},
        "models": installed(),
    }


def describe_model(name: str) -> dict[str, Any]:
    """What a model is, as plain JSON.

    Raises:
        InputError: there is no such model, or a file of it is damaged.
    """
    from vgen.models import ModelInfo, read_config, resolve

    info, folder = ModelInfo.read(name), resolve(name)
    index = read_config(folder, "model_index.json")
    components = [key for key, value in index.items() if isinstance(value, list)]
    parts = {part: count_parameters(Path(folder, part)) for part in (*components, *PARTS)}
    found = {
        "model": name,
        "folder": folder if Path(folder).is_dir() else "on the hub",
        "licence": read_licence(Path(folder, "README.md")),
        "video": {
            "frames": info.frames,
            "size": f"{info.height}x{info.width}",
            "legal frames": f"1 + {info.temporal_stride}k",
            "legal sizes": f"multiples of {info.size_multiple}",
        },
        "defaults": {"steps": info.steps, "guidance": info.guidance} | ({"prompt": info.prompt} if info.prompt else {}),
        "parameters": {part: count for part, count in parts.items() if count},
    }
    if info.trained is not None:
        found["trained on"] = describe_training(info.trained)
    return found | {part: describe_part(own) for part in PARTS if (own := getattr(info, part)) is not None}


def describe_training(trained: TrainingRange) -> dict[str, Any]:
    """What a model was trained on, as plain JSON; of its words, how many."""
    codec = trained.codec_psnr
    layouts = {
        name: {key: f"{low:g} to {high:g}" for key, (low, high) in known.places.items()}
        | {f"speed of the {body}, at most": speed for body, speed in known.speeds.items()}
        for name, known in trained.layouts.items()
    }
    told = {
        "sizes": trained.sizes and [f"{height}x{width}" for height, width in trained.sizes],
        "frames": trained.frames and list(trained.frames),
        "frames per second": trained.rates and list(trained.rates),
        "conditions": trained.conditions and list(trained.conditions),
        "words of captions": None if trained.words is None else len(trained.words),
        "codec, PSNR in dB": codec and f"{codec[0]:g} to {codec[2]:g}, {codec[1]:g} half-way",
        "places of the hand": layouts or None,
    }
    return {name: value for name, value in told.items() if value is not None}


def describe_part(part: PartInfo) -> dict[str, Any]:
    """What a part knows of trajectories, as plain JSON."""
    layouts = {
        name: {"columns": columns, "actions per second": part.rates.get(name)} for name, columns in part.layouts.items()
    }
    own = ("guidance", "anchor") if part.part == "ego" else ("horizon", "states")
    return {"layouts": layouts, "history": part.history} | {name: getattr(part, name) for name in own}


def count_parameters(folder: Path) -> int:
    """How many numbers the safetensors files of a component hold, by what their heads say; 0 where there are none."""
    from math import prod

    from safetensors import SafetensorError, safe_open

    from vgen.errors import InputError

    count = 0
    for file in sorted(folder.rglob("*.safetensors")):
        try:
            with safe_open(file, "numpy") as weights:
                count += sum(prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise InputError(f"cannot read the weights {file}: {error}") from error
    return count


def read_licence(card: Path) -> str:
    """The licence that the front matter of a model card names; "not said" where there is none."""
    lines = card.read_text(encoding="utf-8", errors="replace").splitlines() if card.is_file() else []
    if lines[:1] == ["---"]:
        for line in lines[1 : lines.index("---", 1) if "---" in lines[1:] else None]:
            key, _, value = line.partition(":")
            if key == "license" and value.strip():
                return value.strip()
    return "not said"


def lines(described: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """What was described, for a person."""
    for name, value in described.items():
        if isinstance(value, Mapping):
            yield f"{indent}{name}"
            yield from lines(value, f"{indent}  ")
        else:
            text = f"{value / 1e6:.2f} M" if isinstance(value, int) and value > 1e5 else value
            text = ", ".join(map(str, text)) if isinstance(text, list) else text
            yield f"{indent}{name:<{22 - len(indent)}} {text}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Describes, as the options say."""
    options = parser().parse_args(arguments)
    described = describe_machine() if options.model is None else describe_model(options.model)
    print(json.dumps(described, indent=2) if options.json else "\n".join(lines(described)))


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
