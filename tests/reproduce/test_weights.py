import pytest
import torch
from safetensors.torch import load_file
from tiny_parts import TEXT, TRANSFORMER, tiny_codec
from transformers import UMT5Config, UMT5EncoderModel

from vgen.backbone.transformer import VideoTransformer
from vgen.reproduce import weights
from vgen.reproduce.weights import parts_of, write_parts


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    VideoTransformer(**TRANSFORMER, in_channels=4, out_channels=4, text_dim=16).save_pretrained(folder / "transformer")
    tiny_codec().save_pretrained(folder / "vae")
    UMT5EncoderModel(UMT5Config(**TEXT)).save_pretrained(folder / "text_encoder")
    return folder


def test_files_are_small_and_read_as_one_model(model, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "SHARD_BYTES", 20_000)
    made = tmp_path / "made"
    write_parts(parts_of(model), made, torch.bfloat16)
    files = sorted(made.rglob("*.safetensors"))
    assert len(files) > 4 and max(file.stat().st_size for file in files) < 25_000
    before = load_file(model / "transformer" / "diffusion_pytorch_model.safetensors")
    after = VideoTransformer.from_pretrained(made / "transformer", torch_dtype=torch.bfloat16).state_dict()
    usual = VideoTransformer.from_pretrained(model / "transformer", torch_dtype=torch.bfloat16).state_dict()
    assert before.keys() == after.keys() == usual.keys()
    assert all(torch.equal(after[name], usual[name]) and after[name].dtype == usual[name].dtype for name in usual)
    text = UMT5EncoderModel.from_pretrained(made / "text_encoder", dtype=torch.float32).state_dict()
    kept = UMT5EncoderModel.from_pretrained(model / "text_encoder", dtype=torch.bfloat16).float().state_dict()
    assert all(torch.equal(text[name], kept[name]) for name in kept)


def test_files_that_were_cut_are_cut_anew(model, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "SHARD_BYTES", 20_000)
    once, again = tmp_path / "once", tmp_path / "again"
    write_parts({"transformer": model / "transformer"}, once, torch.bfloat16)
    write_parts(parts_of(once), again, torch.float32)  # twice as large
    assert max(file.stat().st_size for file in again.rglob("*.safetensors")) < 25_000
    narrow, wide = (VideoTransformer.from_pretrained(folder / "transformer").state_dict() for folder in (once, again))
    assert narrow.keys() == wide.keys() and all(torch.equal(narrow[name], wide[name]) for name in narrow)


def test_without_a_type_parts_stay_as_they_are(model, tmp_path):
    write_parts({"vae": model / "vae"}, tmp_path / "made")
    names = [file.name for file in sorted((tmp_path / "made").rglob("*")) if file.is_file()]
    assert names == ["config.json", "diffusion_pytorch_model.safetensors"]
    assert all((tmp_path / "made/vae" / name).read_bytes() == (model / "vae" / name).read_bytes() for name in names)
