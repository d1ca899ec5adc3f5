import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from tiny_lora import as_if_trained, velocity
from tiny_parts import TEXT, TRANSFORMER, tiny_codec
from tiny_wan import save_clips, save_tiny_wan
from transformers import ByT5Tokenizer, UMT5Config, UMT5EncoderModel

from vgen.backbone.codec import WanCodec
from vgen.backbone.transformer import VideoTransformer
from vgen.canvas.pipeline import CanvasPipeline
from vgen.commands.export import main
from vgen.data.opening import DataConfig
from vgen.ego.adapter import EgoAdapter
from vgen.ego.pipeline import EgoPipeline
from vgen.errors import InputError
from vgen.models import TrainingRange
from vgen.state.frame_encoder import LatentVision
from vgen.state.language_model import new_llama
from vgen.state.model import StateConfig, StateModel
from vgen.train import model_at
from vgen.train.checkpoint.folder import Checkpoint, Progress, State
from vgen.train.export import export, export_lora, read_curve
from vgen.train.lora import LoraConfig
from vgen.train.objectives.canvas import CanvasConfig, CanvasObjective
from vgen.trajectory.convert import to_delta
from vgen.trajectory.statistics import Statistics
from vgen.trajectory.trajectory import Trajectory

LLAMA = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
LLAMA |= {"num_attention_heads": 2, "num_key_value_heads": 2}
OBJECTIVE = {"name": "canvas", "codec": "/a/private/codec", "bodies": [{"data": {"dataset": "/a/private/drawers"}}]}


@pytest.fixture
def run(tmp_path):
    run = tmp_path / "run"
    channels = {"in_channels": 4, "out_channels": 4, "text_dim": 16}
    CanvasPipeline(
        ByT5Tokenizer(model_max_length=32),
        UMT5EncoderModel(UMT5Config(**TEXT)),
        tiny_codec(),
        VideoTransformer(**TRANSFORMER, **channels),
        FlowMatchEulerDiscreteScheduler(),
    ).save_pretrained(run / "model")
    record = {
        "config": {"run": "/a/private/place", "seed": 7, "objective": OBJECTIVE},
        "steps": 12,
        "skipped_steps": 1,
        "samples": 96,
        "train_minutes": 3.0,
        "ranks": 2,
        "device": "x86_64 CPU",
        "versions": {"torch": "2.13.0", "deepspeed": None},
    }
    (run / "run.json").write_text(json.dumps(record))
    log = [
        {"kind": "train", "step": 4, "loss": 2.0, "minutes": 1.0},
        {"kind": "validation", "step": 4, "loss": 1.98765},
        {"kind": "train", "step": 12, "loss": 1.5, "minutes": 3.0},
        {"kind": "validation", "step": 12, "loss": 1.5},
    ]
    (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    return run


def test_the_folder_holds_the_model_in_the_type_asked_for(run, tmp_path):
    export(run, tmp_path / "model", torch.bfloat16)
    exported = CanvasPipeline.from_pretrained(tmp_path / "model", dtype=torch.bfloat16)
    original = CanvasPipeline.from_pretrained(run / "model")
    for name, value in original.transformer.state_dict().items():
        torch.testing.assert_close(exported.transformer.state_dict()[name].float(), value, atol=1e-2, rtol=1e-2)
    small, large = (
        sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
        for folder in (tmp_path / "model", run / "model")
    )
    assert small < 0.7 * large


def test_the_card_tells_how_it_was_made_and_nothing_of_the_machine(run, tmp_path):
    export(run, tmp_path / "model", torch.bfloat16, report="PSNR 31.25\n")
    card = (tmp_path / "model" / "README.md").read_text()
    for words in (
        "12 steps (1 skipped)",
        "96 samples",
        "3 minutes on 2 ranks",
        "seed 7",
        "PSNR 31.25",
        "| 1 | 4 | 1.988 |",
        "dataset: drawers",
    ):
        assert words in card
    assert "private" not in card and "deepspeed" not in card
    assert not any(str(tmp_path) in file.read_text() for file in (tmp_path / "model").rglob("*.json"))


def as_run(folder, like):
    """A run's records around the model in it."""
    folder.mkdir(exist_ok=True)
    for name in ("run.json", "log.jsonl"):
        (folder / name).write_text((like / name).read_text())
    return folder


def test_the_front_end_goes_along_and_other_runs_give_parts(run, tmp_path):
    pipe = CanvasPipeline.from_pretrained(run / "model")
    EgoAdapter.for_backbone(pipe.transformer, 4, {"position4": 4}, {}, width=16, heads=2).save_pretrained(
        run / "model" / "ego"
    )
    codec, state = as_run(tmp_path / "codec", run), as_run(tmp_path / "state", run)
    torch.nn.init.constant_(pipe.vae.decoder.conv_in.bias, 0.5)
    pipe.vae.save_pretrained(codec / "model" / "vae")
    steps = to_delta(Trajectory(np.random.default_rng(0).random((6, 4)), np.arange(6.0), layout="position4"))
    config = StateConfig({"position4": 4}, 2, 4, 3, "flow", 16, 4, {"position4": 10.0})
    vision = LatentVision(4, 2, WanCodec(pipe.vae))
    StateModel(config, *new_llama(LLAMA), vision, {"position4": Statistics.fit([steps])}).save_pretrained(
        state / "model" / "state"
    )
    TrainingRange(frames=(9,), codec_psnr=(1, 2, 3)).write(run / "model")
    TrainingRange(codec_psnr=(4, 5, 6)).write(codec / "model")
    export(run, tmp_path / "model", torch.bfloat16, parts=[codec, state])
    assert TrainingRange.read(tmp_path / "model") == TrainingRange(frames=(9,), codec_psnr=(4, 5, 6))
    exported = EgoPipeline.from_pretrained(tmp_path / "model", dtype=torch.float32)
    assert exported.vae.decoder.conv_in.bias.unique().item() == 0.5
    assert list(exported.ego.config.layouts) == ["position4"]
    assert StateModel.from_pretrained(tmp_path / "model" / "state", exported.codec).config == config
    card = (tmp_path / "model" / "README.md").read_text()
    assert "## Training: codec" in card and "| ego |" in card and "| state |" in card
    with pytest.raises(InputError, match="is no part of a model"):
        export(run, tmp_path / "other", torch.bfloat16, parts=[run])
    again = shutil.copytree(codec, tmp_path / "again"), shutil.copytree(state, tmp_path / "more")
    for one, other, part in ((codec, again[0], "a codec"), (state, again[1], "Stage I"), (codec, codec, "a codec")):
        with pytest.raises(InputError, match=f"{one} and {other} both bring {part}, and a model has one"):
            main([str(run), "--out", str(tmp_path / "other"), "--with", str(one), "--with", str(other)])
    assert not (tmp_path / "other").exists()


def test_a_part_is_taken_from_a_newer_checkpoint_too(run, tmp_path, monkeypatch):
    """As of a run that was stopped, which has no model as new as its checkpoint, or none at all."""
    part, record = as_run(tmp_path / "codec", run), json.loads((run / "run.json").read_text())
    (part / "run.json").unlink()
    progress = Progress(step=record["steps"] + 5)
    state = State(progress, record["config"], "", 1, 1, {}, record["device"], record["versions"])
    stopped = Checkpoint(part / "checkpoints" / "step-5", state)
    newest = model_at._newest
    monkeypatch.setattr(model_at, "_newest", lambda of, exported: stopped if of == part else newest(of, exported))

    def write(checkpoint, folder):
        vae = CanvasPipeline.from_pretrained(run / "model").vae
        torch.nn.init.constant_(vae.decoder.conv_in.bias, 0.25)
        vae.save_pretrained(folder / "vae")

    monkeypatch.setattr(model_at, "write_model", write)
    export(run, tmp_path / "model", torch.float32, parts=[part])
    assert CanvasPipeline.from_pretrained(tmp_path / "model").vae.decoder.conv_in.bias.unique().item() == 0.25
    assert f"{progress.step} steps" in (tmp_path / "model" / "README.md").read_text()


def test_nothing_is_overwritten_and_a_run_without_a_record_is_refused(run, tmp_path):
    export(run, tmp_path / "model", torch.float32)
    with pytest.raises(InputError, match="holds a model already; name another folder, or replace it with --overwrite"):
        export(run, tmp_path / "model", torch.bfloat16)
    (tmp_path / "model" / "ego").mkdir()
    export(run, tmp_path / "model", torch.bfloat16, overwrite=True)
    assert not (tmp_path / "model" / "ego").exists() and list(tmp_path.glob(".*")) == []
    (run / "run.json").unlink()
    with pytest.raises(InputError, match=r"no readable run\.json"):
        export(run, tmp_path / "other", torch.bfloat16)
    assert not (tmp_path / "other").exists()


def changed(file, **keys):
    file.write_text(json.dumps(json.loads(file.read_text()) | keys))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"versions": None}, "has no versions"),
        ({"train_minutes": "3"}, "has no train_minutes"),
        ({"steps": 1e3}, "has no steps"),
        ({"config": {"seed": 7}}, "names no objective"),
        ({"config": {"objective": OBJECTIVE}}, "has no seed"),
    ],
)
def test_a_record_that_is_damaged_is_refused_and_leaves_nothing(run, tmp_path, keys, words):
    changed(run / "run.json", **keys)
    with pytest.raises(InputError, match=f"run.json is damaged: .*{words}"):
        export(run, tmp_path / "model", torch.bfloat16)
    (run / "run.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"no readable run\.json"):
        export(run, tmp_path / "model", torch.bfloat16)
    assert not list(tmp_path.glob("model*"))


def test_lines_of_a_log_that_are_damaged_are_left_out(run):
    whole = read_curve(run)
    with (run / "log.jsonl").open("ab") as log:
        log.write(
            b'[3]\n{"kind": ["validation"]}\n\xff\xfe\n{"kind": "validation", "step": {}, "loss": "low"}\n{"kind": "va'
        )
    assert read_curve(run) == whole and len(whole) == 2
    with (run / "log.jsonl").open("ab") as log:
        log.write(b'\n{"kind": "validation", "step": 14, "loss": NaN, "a": 1' + b"0" * 400 + b"}\n")
    assert read_curve(run)[2:] == [{"minutes": 3.0, "step": 14}]


def test_a_log_that_is_a_folder_is_refused(run, tmp_path):
    (run / "log.jsonl").unlink()
    (run / "log.jsonl").mkdir()
    with pytest.raises(InputError, match=r"log\.jsonl cannot be read: Is a directory"):
        export(run, tmp_path / "model", torch.bfloat16)
    assert not list(tmp_path.glob("model*"))


def test_what_fails_on_its_way_leaves_nothing(run, tmp_path, monkeypatch):
    def fail(*_):
        raise InputError("no card")

    monkeypatch.setattr("vgen.train.export.card", fail)
    with pytest.raises(InputError, match="no card"):
        export(run, tmp_path / "model", torch.bfloat16)
    assert not list(tmp_path.glob("model*"))


def test_what_a_file_of_a_lora_does_not_take_is_refused(tmp_path):
    command = ["run", "--lora", "comfyui", "--out", str(tmp_path / "a.safetensors")]
    with pytest.raises(InputError, match=r"leave out --with, --report"):
        main([*command, "--report", "report.txt", "--with", "state"])
    with pytest.raises(InputError, match=r"leave out --after"):
        main([*command, "--after", "codec"])


def test_a_report_must_be_a_text(run, tmp_path):
    (tmp_path / "report.txt").write_bytes("gr\xfcn".encode("latin-1"))
    command = [sys.executable, "tools/export.py", run, "--out", tmp_path / "model", "--report", tmp_path / "report.txt"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 2 and "report.txt is not a text in UTF-8" in done.stderr and done.stderr.count("\n") == 1


@pytest.fixture
def lora_run(run, tmp_path):
    """A run whose model is a LoRA on a model elsewhere; the trained transformer, and the run."""
    config = CanvasConfig(
        pretrained=str(save_tiny_wan(tmp_path / "base")),
        data=DataConfig(cache=str(save_clips(tmp_path / "cache", (16, 32)))),
        latents=str(tmp_path / "latents"),
        latent_workers=1,
        lora=LoraConfig(rank=4, alpha=6.0),
        frames=9,
        default_steps=7,
        default_prompt="a still view",
    )
    objective = as_if_trained(CanvasObjective(config, seed=0))
    objective.prepare()
    objective.export(tmp_path / "lora_run" / "model")
    record = json.loads((run / "run.json").read_text())
    record["config"]["objective"] |= {"pretrained": config.pretrained}
    (tmp_path / "lora_run" / "run.json").write_text(json.dumps(record))
    (run / "log.jsonl").rename(tmp_path / "lora_run" / "log.jsonl")
    return tmp_path / "lora_run", objective.transformer


def test_the_model_of_a_lora_run_is_its_base_with_the_lora_in_it(lora_run, tmp_path):
    run, trained = lora_run
    export(run, tmp_path / "model", torch.float32)
    exported = CanvasPipeline.from_pretrained(tmp_path / "model")
    torch.testing.assert_close(velocity(exported.transformer), velocity(trained), atol=1e-5, rtol=1e-5)
    assert not any("lora" in name for name in exported.transformer.state_dict())
    defaults = [exported.config[f"default_{key}"] for key in ("frames", "height", "width", "steps", "prompt")]
    assert defaults == [9, 16, 32, 7, "a still view"]
    assert exported.trained == TrainingRange()  # of its base nothing is known


def test_a_lora_that_is_damaged_is_refused(lora_run, tmp_path):
    run, _ = lora_run
    file = run / "model" / "pytorch_lora_weights.safetensors"
    data = file.read_bytes()
    other = b"transformer.blocks.0.attn9.to_q.lora_A"
    for damaged, words in (
        (data[:-5], "cannot be loaded"),
        (data.replace(b"lora_adapter_metadata", b"lora_adapter_metadatb"), "cannot be loaded"),
        (data.replace(other.replace(b"9", b"1"), other), "attn9.to_q.lora_A.weight, which is no weight of a LoRA"),
    ):
        assert damaged != data
        file.write_bytes(damaged)
        with pytest.raises(InputError, match=words):
            export_lora(run, tmp_path / "new.safetensors", "kohya", torch.bfloat16)
    assert not list(tmp_path.glob("new*"))
    changed(run / "run.json", config={"seed": 1, "objective": {"name": "canvas"}})
    with pytest.raises(InputError, match=r"does not say what its LoRA adapts: objective\.pretrained is missing"):
        export(run, tmp_path / "model", torch.float32)


def test_a_lora_is_written_alone(lora_run, run, tmp_path):
    export_lora(lora_run[0], tmp_path / "new" / "lora.safetensors", "comfyui", torch.bfloat16)
    assert (tmp_path / "new" / "lora.safetensors").exists()
    for source, file, words in (
        (run, "other.safetensors", "has no LoRA"),
        (lora_run[0], "other", r"use .*other\.safetensors"),
        (lora_run[0], "new/lora.safetensors", "exists"),
    ):
        with pytest.raises(InputError, match=words):
            export_lora(source, tmp_path / file, "kohya", torch.bfloat16)
