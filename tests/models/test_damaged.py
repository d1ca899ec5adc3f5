"""Models that are damaged: one line each, whatever the library that reads them raises."""

import json
import os
import pickle
import shutil

import pytest
import torch

from vgen.backbone.codec import load_vae
from vgen.canvas.pipeline import CanvasPipeline
from vgen.errors import InputError
from vgen.models import ModelInfo, loading, read_config

TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


@pytest.fixture
def model(tiny_model, tmp_path):
    return shutil.copytree(tiny_model, tmp_path / "model")


def changed(file, **keys):
    file.write_text(json.dumps(json.loads(file.read_text()) | keys))


def renamed(file, old, new):
    """One tensor of a safetensors file under another name of the same length."""
    data = file.read_bytes()
    assert len(old) == len(new) and data.count(old) == 1
    file.write_bytes(data.replace(old, new))


DAMAGE = {
    "cut weights": lambda m: (m / TRANSFORMER).write_bytes((m / TRANSFORMER).read_bytes()[:-9]),
    "a head that lies": lambda m: (m / TRANSFORMER).write_bytes(b"\xff" * 8 + (m / TRANSFORMER).read_bytes()[8:]),
    "a weight of another name": lambda m: renamed(m / TRANSFORMER, b'"proj_out.bias"', b'"proj_out.bios"'),
    "cut text encoder": lambda m: (m / "text_encoder/model.safetensors").write_bytes(b"\x10" + bytes(40)),
    "no text encoder": lambda m: (m / "text_encoder/model.safetensors").unlink(),
    "another width": lambda m: changed(m / "transformer/config.json", num_attention_heads=3),
    "a width of text": lambda m: changed(m / "transformer/config.json", num_attention_heads="two"),
    "an encoder of text": lambda m: changed(m / "text_encoder/config.json", d_model="wide"),
    "no tokens": lambda m: changed(m / "tokenizer/tokenizer_config.json", added_tokens_decoder={"0": 7}),
    "no JSON in the tokenizer": lambda m: (m / "tokenizer/tokenizer_config.json").write_bytes(b"{\x80"),
    "an index of text": lambda m: (m / "model_index.json").write_text('"index"'),
    "an index without a part": lambda m: changed(m / "model_index.json", vae=[None, None]),
    "foreign code": lambda m: changed(m / "model_index.json", scheduler=["own", "Own"]),
    "a scheduler of text": lambda m: changed(m / "scheduler/scheduler_config.json", num_train_timesteps="1000"),
    "deep JSON": lambda m: (m / "vae/config.json").write_text("[" * 100_000),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_model_is_refused_in_one_line(model, kind):
    DAMAGE[kind](model)
    with pytest.raises(InputError) as caught:
        CanvasPipeline.from_pretrained(model).to("cpu")
    assert "model" in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("file", "keys"),
    [
        ("vae/config.json", {"scale_factor_temporal": None}),
        ("vae/config.json", {"scale_factor_spatial": "8"}),
        ("transformer/config.json", {"patch_size": 2}),
        ("transformer/config.json", {"patch_size": [1, 0, 2]}),
        ("model_index.json", {"default_frames": 77.5}),
        ("model_index.json", {"default_height": [384]}),
    ],
)
def test_a_size_that_is_none_is_refused_before_the_model_is_loaded(model, file, keys):
    changed(model / file, **keys)
    with pytest.raises(InputError, match=f"{next(iter(keys))}=.* must "):
        ModelInfo.read(model)


def test_what_is_not_there_is_named(model):
    DAMAGE["a weight of another name"](model)
    with pytest.raises(InputError, match=r"lacks weights of its transformer: proj_out\.bias; it is damaged"):
        CanvasPipeline.from_pretrained(model)


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"])
def test_weights_that_are_a_pickle_run_nothing(model, tmp_path, name):
    (model / TRANSFORMER).unlink()
    torch.save({"proj_out.bias": Payload(tmp_path / "marker")}, model / "transformer" / name)
    with pytest.raises(InputError, match="cannot be loaded"):
        CanvasPipeline.from_pretrained(model)
    assert not (tmp_path / "marker").exists()
    pickle.loads(pickle.dumps(Payload(tmp_path / "marker")))
    assert (tmp_path / "marker").exists()  # so it would have been


def test_code_beside_a_model_is_not_run(model, tmp_path):
    for place in (model, model / "scheduler"):
        (place / "own.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'marker')!r})\nclass Own: pass\n")
    index = (model / "model_index.json").read_text()
    for part in ("scheduler", "_class_name"):
        (model / "model_index.json").write_text(index)
        changed(model / "model_index.json", **{part: ["own", "Own"]})
        with pytest.raises(InputError):
            CanvasPipeline.from_pretrained(model)
    assert not (tmp_path / "marker").exists()


def test_a_codec_and_a_configuration_alone(model):
    assert not load_vae(model / "vae").training
    (model / "vae/config.json").write_text("[]")
    for read in (lambda: load_vae(model / "vae"), lambda: ModelInfo.read(model)):
        with pytest.raises(InputError):
            read()
    with pytest.raises(InputError, match=r"vae/config\.json is damaged: it must hold a JSON object"):
        read_config(str(model), "vae/config.json")


def test_what_a_library_raises_is_one_line_and_what_we_refuse_stays():
    with pytest.raises(InputError, match=r"^model 'here' cannot be loaded: KeyError: 'a b'$"), loading("here"):
        raise KeyError("a b")
    with pytest.raises(InputError, match=r"^of our own$"), loading("here"):
        raise InputError("of our own")
