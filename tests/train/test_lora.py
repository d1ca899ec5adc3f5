from pathlib import Path

import pytest
import torch
from launched import run_ranks
from omegaconf import OmegaConf
from safetensors import safe_open
from safetensors.torch import load_file
from tiny_lora import as_if_trained, velocity
from tiny_wan import save_clips, save_tiny_wan

from vgen.canvas.pipeline import CanvasPipeline
from vgen.errors import InputError
from vgen.train.lora import LAYERS, NAMINGS, LoraConfig, rename_lora, save_lora
from vgen.train.objectives.canvas import CanvasConfig, CanvasObjective

HELPERS = Path(__file__).parents[1] / "helpers"


@pytest.fixture
def base(tmp_path):
    return save_tiny_wan(tmp_path / "base")


def tuned(base, **lora):
    """An objective whose LoRA is as if trained: its matrices are random, and B is not zero."""
    config = CanvasConfig(pretrained=str(base), lora=LoraConfig(**{"rank": 4, "alpha": 6.0, **lora}))
    return as_if_trained(CanvasObjective(config, seed=0))


def test_only_the_lora_is_trained(base):
    objective = tuned(base)
    trained = {name for name, p in objective.named_parameters() if p.requires_grad}
    layers = {f"transformer.blocks.{block}.{layer}" for block in range(2) for layer in LAYERS}
    assert trained == {f"{layer}.lora_{matrix}.default.weight" for layer in layers for matrix in "AB"}


@pytest.mark.parametrize("naming", NAMINGS)
def test_a_lora_comes_back_under_each_naming(base, tmp_path, naming):
    objective = tuned(base)
    save_lora(objective.transformer, tmp_path / "model")
    rename_lora(tmp_path / "model", tmp_path / "out" / "lora.safetensors", naming, torch.float32)
    pipe = CanvasPipeline.from_pretrained(base)
    before = velocity(pipe.transformer)
    pipe.load_lora_weights(tmp_path / "out" / "lora.safetensors")
    after, expected = velocity(pipe.transformer), velocity(objective.transformer)
    assert (expected - before).abs().max() > 0.05  # or the comparison says nothing
    torch.testing.assert_close(after, expected, atol=1e-5, rtol=1e-5)


def test_names_and_alpha_are_those_that_other_programs_read(base, tmp_path):
    save_lora(tuned(base).transformer, tmp_path / "model")
    names = {}
    for naming in NAMINGS:
        file = tmp_path / f"{naming}.safetensors"
        rename_lora(tmp_path / "model", file, naming, torch.bfloat16)
        names[naming] = load_file(file)
    assert len(names["diffusers"]) == 2 * 2 * len(LAYERS)
    assert "transformer.blocks.1.ffn.net.0.proj.lora_A.weight" in names["diffusers"]
    with safe_open(tmp_path / "diffusers.safetensors", "pt") as file:
        about = file.metadata()["lora_adapter_metadata"]
    assert '"transformer.lora_alpha": 6.0' in about and str(tmp_path) not in about
    for naming, stem in (("comfyui", "diffusion_model.blocks.1.ffn.0"), ("kohya", "lora_unet_blocks_1_ffn_0")):
        assert len(names[naming]) == 2 * 3 * len(LAYERS)
        assert names[naming][f"{stem}.alpha"].item() == 6.0 and names[naming][f"{stem}.alpha"].shape == ()
        down, up = (names[naming][f"{stem}.lora_{matrix}.weight"] for matrix in ("down", "up"))
        assert down.shape == (4, 24) and up.shape == (32, 4) and down.dtype == torch.bfloat16
        part = names["diffusers"]["transformer.blocks.1.ffn.net.0.proj.lora_A.weight"]
        assert torch.equal(down, part)
    assert "diffusion_model.blocks.0.cross_attn.o.lora_up.weight" in names["comfyui"]
    assert "lora_unet_blocks_0_self_attn_q.lora_down.weight" in names["kohya"]


@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize("targets", [["to_q", "attn2.to_k"], ["ffn.net.2"], list(LAYERS)])
def test_each_layer_comes_back_exactly(base, tmp_path, naming, targets):
    objective = tuned(base, targets=targets)
    save_lora(objective.transformer, tmp_path / "model")
    rename_lora(tmp_path / "model", tmp_path / "lora.safetensors", naming, torch.float32)
    pipe = CanvasPipeline.from_pretrained(base)
    pipe.load_lora_weights(tmp_path / "lora.safetensors")
    layers, loaded = (
        {name: layer for name, layer in transformer.named_modules() if hasattr(layer, "lora_A")}
        for transformer in (objective.transformer, pipe.transformer)
    )
    assert layers.keys() == loaded.keys() and len(layers) == 2 * sum(
        f".{layer}".endswith(f".{target}") for layer in LAYERS for target in targets
    )
    for name, layer in layers.items():
        assert torch.equal(loaded[name].get_delta_weight("default_0"), layer.get_delta_weight("default"))
    torch.testing.assert_close(velocity(pipe.transformer), velocity(objective.transformer), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("lora", "words"),
    [
        ({"targets": ["to_qq"]}, "'to_qq' is not in objective.lora.targets"),
        ({"targets": ["proj_out"]}, "'proj_out' is not in objective.lora.targets"),
        ({"targets": []}, r"objective.lora.targets=\[\] names no layer"),
        ({"rank": -1}, "rank=-1 is not positive"),
        ({"dropout": 1.0}, "dropout=1.0"),
    ],
)
def test_what_does_not_fit_is_refused(base, lora, words):
    with pytest.raises(InputError, match=words):
        tuned(base, **lora)


def test_a_lora_needs_something_to_adapt():
    with pytest.raises(InputError, match=r"objective\.pretrained"):
        CanvasObjective(CanvasConfig(codec="somewhere", lora=LoraConfig(rank=2)), seed=0)


def test_split_weights_give_the_same_lora_as_whole_ones(base, tmp_path):
    """Two ranks, ZeRO 0 and 3: the same averaged weights in the file, none empty; a resumed run ends as an unbroken
    one. ZeRO 3 with recomputed activations, and with samples, which all ranks draw."""
    (tmp_path / "text.yaml").write_text("frames: 5\nsize: 16x16\nprompt: noise\n")
    recipe = {
        "run": "named by each run",
        "steps": 3,
        "log_every": 1,
        "precision": "fp32",
        "ema_decay": 0.9,
        "optimizer": {"lr": 0.01},
        "schedule": {"warmup_steps": 0},
        "objective": {
            "name": "canvas",
            "pretrained": str(base),
            "data": {"cache": str(save_clips(tmp_path / "cache", (16, 16)))},
            "latents": str(tmp_path / "latents"),
            "latent_workers": 1,
            "lora": {"rank": 2, "alpha": 3.0},
            "frames": 5,
            "clips": 6,
            "validation_clips": 2,
            "batch": 1,
        },
    }
    OmegaConf.save(OmegaConf.create(recipe), tmp_path / "recipe.yaml")
    run_ranks(2, HELPERS / "lora_ranks.py", tmp_path / "recipe.yaml", tmp_path)
    files = {
        name: load_file(tmp_path / name / "model" / "pytorch_lora_weights.safetensors")
        for name in ("whole0", "whole3", "broken3")
    }
    for name, weight in files["whole0"].items():
        assert weight.shape == files["whole3"][name].shape and weight.numel()
        torch.testing.assert_close(files["whole3"][name], weight, atol=1e-4, rtol=1e-3)
        assert torch.equal(files["whole3"][name], files["broken3"][name])
    assert any(weight.abs().max() > 1e-3 for name, weight in files["whole3"].items() if "lora_B" in name)
    assert (tmp_path / "whole3" / "samples" / "step-00000002" / "text" / "video.mp4").exists()
    kept = sum(file.stat().st_size for file in (tmp_path / "whole3" / "checkpoints").rglob("*") if file.is_file())
    whole = sum(file.stat().st_size for file in base.rglob("*.safetensors"))
    assert kept < whole  # the checkpoint, with the optimiser's states, has no frozen weight
