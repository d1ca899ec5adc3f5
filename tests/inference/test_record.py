"""What a record keeps of a LoRA."""

import json

import pytest
import torch
from safetensors.torch import save_file

from vgen.canvas.spec import Canvas
from vgen.files import file_sha256
from vgen.inference.canvas import CANVAS_RUN
from vgen.inference.record import describe_run
from vgen.inference.settings import CanvasSettings


@pytest.fixture
def lora(tmp_path):
    """As peft writes it, beside a file that has nothing to do with it."""
    (tmp_path / "lora").mkdir()
    for name in ("adapter_model", "other"):
        save_file({f"{name}.lora_A.weight": torch.ones(1, 2)}, tmp_path / "lora" / f"{name}.safetensors")
    (tmp_path / "lora" / "adapter_config.json").write_text(json.dumps({"lora_alpha": 4}))
    return tmp_path / "lora"


def recorded(lora, folder):
    settings = CanvasSettings(lora=lora and str(lora))
    return describe_run(CANVAS_RUN, Canvas(17, 32, 64), settings, folder)["lora"]


def test_all_that_decides_on_a_lora_is_recorded(lora, tmp_path, monkeypatch):
    monkeypatch.setattr("vgen.inference.record.fingerprint", lambda *_: "the model")
    before = recorded(lora, tmp_path)
    assert before == recorded(lora / "adapter_model.safetensors", tmp_path)
    save_file({"a": torch.zeros(1)}, lora / "other.safetensors")
    assert recorded(lora, tmp_path) == before
    (lora / "adapter_config.json").write_text(json.dumps({"lora_alpha": 8}))
    assert recorded(lora, tmp_path) != before
    assert recorded(lora / "other.safetensors", tmp_path) == file_sha256(lora / "other.safetensors")
    assert recorded("someone/style", tmp_path) == "someone/style" and recorded(None, tmp_path) == ""
