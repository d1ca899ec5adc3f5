"""Inputs that would run code, read other files or call other hosts, if a command let them."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import socket
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fuzz_suite.media import picture
from fuzz_suite.seeds import INFER, ROLLOUT, Seeds

LONG_AGO = 10**18  # nanoseconds; a file that was read last before it was changed tells when it is read


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = str(marker)

    def __reduce__(self) -> tuple:
        return os.mkdir, (self._marker,)


class Bait:
    """What must stay as it is while a command is at work: a marker that nobody makes, files that nobody reads, and a
    port that nobody calls.

    Args:
        folder: of the marker and the files.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.marker = folder / "marker"
        self.image, self.video = folder / "secret.png", folder / "secret.mp4"
        self._port = socket.create_server(("127.0.0.1", 0))
        self._port.setblocking(False)
        self.url = f"http://127.0.0.1:{self._port.getsockname()[1]}"

    def lay(self, seeds: Seeds) -> None:
        """The files, as if never read."""
        shutil.copy(seeds.folder / "spec" / "first.png", self.image)
        shutil.copy(seeds.folder / "videos" / "h264.mp4", self.video)
        for file in (self.image, self.video):
            os.utime(file, ns=(LONG_AGO, LONG_AGO + 1))

    def named(self, text: str) -> str:
        """A text with {image}, {video}, {url} and {marker} as they are called here."""
        for name in ("image", "video", "url", "marker"):
            text = text.replace(f"{{{name}}}", str(getattr(self, name)))
        return text

    def taken(self) -> list[str]:
        """What has happened since they were laid."""
        found = []
        if self.marker.exists():
            found.append("code from the input ran")
        found += [f"{file.name} was read" for file in (self.image, self.video) if os.stat(file).st_atime_ns != LONG_AGO]
        with suppress(BlockingIOError):
            while True:
                self._port.accept()[0].close()
                found.append("a host was called")
        return found

    def close(self) -> None:
        """Closes the port."""
        self._port.close()


@dataclass(frozen=True)
class Trap:
    """One kind; `make` writes it into a folder and returns the command and its options. Where `refused`, all else than
    a refusal is wrong."""

    name: str
    make: Callable[[Path, Seeds, Bait], tuple[str, Sequence[str]]]
    refused: bool = True


def _text(name: str, text: str) -> Trap:
    """A text that is named as a medium; {image}, {video}, {url} and {marker} become the bait's."""

    def make(folder: Path, seeds: Seeds, bait: Bait) -> tuple[str, Sequence[str]]:
        (folder / "in" / name).write_text(bait.named(text))
        return "infer", ("--patch", f"in/{name}@0", *INFER)

    return Trap(name, make)


HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{video}\n#EXTINF:9,\n{url}/a.ts\n#EXT-X-ENDLIST\n"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><image href="{url}/a.png"/><image href="file://{image}"/></svg>'
EPS = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n(%pipe%touch {marker}) (w) file\nshowpage\n"
FFCONCAT = "ffconcat version 1.0\nfile '{video}'\n"
SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
DASH = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
    '<Representation id="1" bandwidth="1"><BaseURL>{url}/a.mp4</BaseURL></Representation></AdaptationSet></Period>'
    "</MPD>"
)
TEXTS = {
    "hls.mp4": HLS, "hls.ts": HLS, "hls.mkv": HLS, "hls.avi": HLS, "picture.png": SVG, "picture.webp": SVG,
    "page.png": EPS, "page.jpg": EPS, "list.mp4": FFCONCAT, "list.mkv": FFCONCAT, "radio.mp4": SDP, "dash.mp4": DASH,
}  # fmt: skip


def _named(name: str, patch: str) -> Trap:
    """A name that is more than a file's."""

    def make(folder: Path, seeds: Seeds, bait: Bait) -> tuple[str, Sequence[str]]:
        source = (
            patch.replace("{image}", str(bait.image)).replace("{video}", str(bait.video)).replace("{url}", bait.url)
        )
        return "infer", ("--patch", f"{source}@0", *INFER)

    return Trap(name, make)


def _pickled_npz(folder: Path, seeds: Seeds, bait: Bait) -> tuple[str, Sequence[str]]:
    with np.load(seeds.folder / "hands" / "hand.npz") as kept:
        arrays = {name: kept[name] for name in kept.files}
    arrays["values"] = np.array([Payload(bait.marker)], dtype=object)
    np.savez(folder / "in" / "hand.npz", **arrays)
    return "edit_trajectory", ("--trajectory", "in/hand.npz", "--edit", "mirror", "--out", "out.npz")


def _pickle_as_npz(folder: Path, seeds: Seeds, bait: Bait) -> tuple[str, Sequence[str]]:
    (folder / "in" / "hand.npz").write_bytes(pickle.dumps(Payload(bait.marker)))
    return "rollout", ("--start", str(seeds.folder / "spec/first.png"), "--trajectory", "in/hand.npz", *ROLLOUT)


def _zip_bomb(folder: Path, seeds: Seeds, bait: Bait) -> tuple[str, Sequence[str]]:
    """Eight gigabytes of zeros in eight megabytes."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": (2**28, 4)})
    with zipfile.ZipFile(folder / "in" / "hand.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        with file.open("values.npy", "w", force_zip64=True) as member:
            member.write(head.getvalue())
            for _ in range(64):  # of the 8 GB it says
                member.write(bytes(2**22))
        file.writestr("times.npy", head.getvalue())
    return "edit_trajectory", ("--trajectory", "in/hand.npz", "--edit", "mirror", "--out", "out.npz")


def _png_bomb(folder: Path, seeds: Seeds, bait: Bait) -> tuple[str, Sequence[str]]:
    """A white picture of 900 million pixels."""
    side = 30_000
    rows = zlib.compressobj(9)
    data = b"".join(rows.compress(bytes(1 + side // 8)) for _ in range(side)) + rows.flush()
    parts = ((b"IHDR", side.to_bytes(4, "big") * 2 + b"\x01\0\0\0\0"), (b"IDAT", data), (b"IEND", b""))
    with (folder / "in" / "bomb.png").open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, content in parts:
            file.write(len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big"))
    return "infer", ("--patch", "in/bomb.png@0", *INFER)


def _yaml_object(folder: Path, seeds: Seeds, bait: Bait) -> tuple[str, Sequence[str]]:
    (folder / "in" / "spec.yaml").write_text(
        f"frames: 5\nsize: 32x32\nprompt: !!python/object/apply:os.mkdir ['{bait.marker}']\n"
    )
    return "infer", ("--spec", "in/spec.yaml", "--out", "out")


def _recipe_object(folder: Path, seeds: Seeds, bait: Bait) -> tuple[str, Sequence[str]]:
    (folder / "in" / "recipe.yaml").write_text(
        f"run: !!python/object/apply:os.mkdir ['{bait.marker}']\nsteps: 1\nobjective: {{name: codec}}\n"
    )
    return "train", ("in/recipe.yaml",)


# Aliases that grow tenfold with each line.
GROWING = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))


def _alias_bomb(folder: Path, seeds: Seeds, bait: Bait) -> tuple[str, Sequence[str]]:
    (folder / "in" / "spec.yaml").write_text(GROWING + "frames: *a9\nsize: 32x32\n")
    return "infer", ("--spec", "in/spec.yaml", "--out", "out")


def _recipe_bomb(folder: Path, seeds: Seeds, bait: Bait) -> tuple[str, Sequence[str]]:
    (folder / "in" / "recipe.yaml").write_text(GROWING + "run: run\nsteps: *a9\nobjective: {name: codec}\n")
    return "train", ("in/recipe.yaml", "--dry-run")


def _circle_of_recipes(folder: Path, seeds: Seeds, bait: Bait) -> tuple[str, Sequence[str]]:
    (folder / "in" / "recipe.yaml").write_text("base: recipe.yaml\nrun: run\n")
    return "train", ("in/recipe.yaml", "--dry-run")


def _deep(folder: Path, seeds: Seeds, bait: Bait) -> tuple[str, Sequence[str]]:
    (folder / "in" / "hand.json").write_text("[" * 200_000)
    return "edit_trajectory", ("--trajectory", "in/hand.json", "--edit", "mirror", "--out", "out.json")


def _deep_spec(folder: Path, seeds: Seeds, bait: Bait) -> tuple[str, Sequence[str]]:
    (folder / "in" / "spec.yaml").write_text("frames: " + "[" * 100_000)
    return "infer", ("--spec", "in/spec.yaml", "--out", "out")


def _pickled_lora(folder: Path, seeds: Seeds, bait: Bait) -> tuple[str, Sequence[str]]:
    torch.save({"lora": Payload(bait.marker)}, folder / "in" / "lora.safetensors")
    return "infer", ("--patch", f"{seeds.folder}/spec/first.png@0", "--lora", "in/lora.safetensors", *INFER)


def _lora_bin(folder: Path, seeds: Seeds, bait: Bait) -> tuple[str, Sequence[str]]:
    torch.save({"lora": Payload(bait.marker)}, folder / "in" / "pytorch_lora_weights.bin")
    return "infer", ("--patch", f"{seeds.folder}/spec/first.png@0", "--lora", "in", *INFER)


def _lora_pt(folder: Path, seeds: Seeds, bait: Bait) -> tuple[str, Sequence[str]]:
    torch.save({"lora": Payload(bait.marker)}, folder / "in" / "lora.pt")
    return "infer", ("--patch", f"{seeds.folder}/spec/first.png@0", "--lora", "in/lora.pt", *INFER)


def _model(folder: Path, seeds: Seeds) -> Path:
    shutil.copytree(seeds.folder / "model", folder / "in" / "model")
    return folder / "in" / "model"


def _infer_with(folder: Path, seeds: Seeds) -> tuple[str, Sequence[str]]:
    return "infer", ("--patch", f"{seeds.folder}/spec/first.png@0", "--model", "in/model", *INFER)


def _pickled_weights(part: str, old: str, new: str) -> Trap:
    """A model of which one part's weights are a pickle."""

    def make(folder: Path, seeds: Seeds, bait: Bait) -> tuple[str, Sequence[str]]:
        model = _model(folder, seeds)
        (model / part / old).unlink()
        torch.save({"weight": Payload(bait.marker)}, model / part / new)
        if part in ("ego", "state"):
            hand = str(seeds.folder / "hands" / "hand.npz")
            start = ("--mode", "policy", "--start", f"{seeds.folder}/spec/first.png", "--trajectory", hand)
            return "rollout", (*start, "--model", "in/model", *ROLLOUT)
        return _infer_with(folder, seeds)

    return Trap(f"{part}/{new} is a pickle", make)


def _foreign_class(part: str, entry: list[str]) -> Trap:
    """A model whose index names a class of other code."""

    def make(folder: Path, seeds: Seeds, bait: Bait) -> tuple[str, Sequence[str]]:
        model = _model(folder, seeds)
        index = json.loads((model / "model_index.json").read_text())
        index[part] = entry
        (model / "model_index.json").write_text(json.dumps(index))
        code = f"import os\nos.mkdir({str(bait.marker)!r})\nclass Own:\n    pass\n"
        for place in (model / "own.py", model / part / "own.py"):
            place.parent.mkdir(exist_ok=True)
            place.write_text(code)
        return _infer_with(folder, seeds)

    return Trap(f"model_index.json: {part} is {entry}", make, refused=False)


def _own_code(folder: Path, seeds: Seeds, bait: Bait) -> tuple[str, Sequence[str]]:
    """A trunk and a tokenizer that bring code of their own."""
    model = _model(folder, seeds)
    for file in (
        "state/trunk/config.json",
        "state/tokenizer/tokenizer_config.json",
        "text_encoder/config.json",
        "tokenizer/tokenizer_config.json",
    ):
        config = json.loads((model / file).read_text())
        names = ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoTokenizer")
        config["auto_map"] = {name: "own.Own" if name != "AutoTokenizer" else ["own.Own", None] for name in names}
        config["model_type"] = "own"
        (model / file).write_text(json.dumps(config))
        (model / file).with_name("own.py").write_text(
            f"import os\nos.mkdir({str(bait.marker)!r})\nclass Own:\n    pass\n"
        )
    hand = str(seeds.folder / "hands" / "hand.npz")
    start = ("--mode", "policy", "--start", f"{seeds.folder}/spec/first.png", "--trajectory", hand)
    return "rollout", (*start, "--model", "in/model", *ROLLOUT)


def _run_that_names_a_host(folder: Path, seeds: Seeds, bait: Bait) -> tuple[str, Sequence[str]]:
    """A run.json whose media lie on a host."""
    shutil.copytree(seeds.folder / "runs" / "infer" / "in", folder / "in", dirs_exist_ok=True)
    shutil.copytree(seeds.folder / "runs" / "infer" / "out", folder / "in" / "made")
    file = folder / "in" / "made" / "run.json"
    file.write_text(file.read_text().replace("../in/first.png", f"{bait.url}/first.png"))
    return "infer", ("--from", "in/made/run.json", "--out", "out")


def _numbered_pictures(folder: Path, seeds: Seeds, bait: Bait) -> tuple[str, Sequence[str]]:
    """A name that FFmpeg takes for a row of pictures."""
    for number in range(3):
        Image.fromarray(picture(number)).save(folder / "in" / f"{number}.png")
    return "infer", ("--patch", "in/%d.png@0", *INFER)


TRAPS: tuple[Trap, ...] = (
    *(_text(name, text) for name, text in TEXTS.items()),
    _named("a host's image", "{url}/a.png"),
    _named("a host's video", "{url}/a.mp4"),
    _named("concat:", "concat:{video}|{video}.mp4"),
    _named("subfile:", "subfile,,start,0,end,0,,:{video}"),
    _named("data:", "data:video/mp4;base64,AAAA.mp4"),
    _named("tcp:", "tcp://127.0.0.1:9/a.mp4"),
    Trap("pickled array in .npz", _pickled_npz),
    Trap("pickle named .npz", _pickle_as_npz),
    Trap("a bomb in .npz", _zip_bomb),
    Trap("a bomb in .png", _png_bomb),
    Trap("object in a spec", _yaml_object),
    Trap("object in a recipe", _recipe_object),
    Trap("aliases that grow in a spec", _alias_bomb),
    Trap("aliases that grow in a recipe", _recipe_bomb),
    Trap("a recipe based on itself", _circle_of_recipes),
    Trap("deep JSON", _deep),
    Trap("deep YAML", _deep_spec),
    Trap("pickle named .safetensors", _pickled_lora),
    Trap("LoRA folder with a pickle", _lora_bin),
    Trap("LoRA as .pt", _lora_pt),
    Trap("run.json that names a host", _run_that_names_a_host),
    Trap("a row of pictures", _numbered_pictures),
    *(_pickled_weights(part, "diffusion_pytorch_model.safetensors", name)
      for part in ("transformer", "vae", "ego")
      for name in ("diffusion_pytorch_model.bin", "diffusion_pytorch_model.safetensors")),
    _pickled_weights("text_encoder", "model.safetensors", "pytorch_model.bin"),
    _pickled_weights("text_encoder", "model.safetensors", "model.safetensors"),
    _pickled_weights("state", "model.safetensors", "pytorch_model.bin"),
    _pickled_weights("state", "model.safetensors", "model.safetensors"),
    _foreign_class("scheduler", ["own", "Own"]),
    _foreign_class("vae", ["own", "Own"]),
    _foreign_class("transformer", ["os", "mkdir"]),
    _foreign_class("extra", ["own", "Own"]),
    _foreign_class("_class_name", ["own", "Own"]),
    Trap("own code in a model", _own_code, refused=False),
)  # fmt: skip
