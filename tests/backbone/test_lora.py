"""Every naming against weights that are added by hand to a plain Wan transformer of diffusers."""

import copy
import json
import math
import re

import pytest
import torch
from accelerate import cpu_offload
from diffusers import WanTransformer3DModel
from peft import get_peft_model_state_dict
from safetensors.torch import save_file
from torch import nn

from vgen.backbone.lora_files import read_lora
from vgen.backbone.pipeline import VideoPipeline
from vgen.backbone.segments import target
from vgen.backbone.transformer import VideoTransformer
from vgen.models import TrainingRange

CONFIG = {
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "in_channels": 4,
    "out_channels": 4,
    "text_dim": 16,
    "freq_dim": 32,
    "ffn_dim": 40,
    "num_layers": 2,
    "rope_max_seq_len": 64,
}
# diffusers' name of a layer, and Wan's own, as its checkpoints have it.
BLOCK = [
    ("attn1.to_q", "self_attn.q"),
    ("attn1.to_k", "self_attn.k"),
    ("attn1.to_v", "self_attn.v"),
    ("attn1.to_out.0", "self_attn.o"),
    ("attn2.to_q", "cross_attn.q"),
    ("attn2.to_k", "cross_attn.k"),
    ("attn2.to_v", "cross_attn.v"),
    ("attn2.to_out.0", "cross_attn.o"),
    ("ffn.net.0.proj", "ffn.0"),
    ("ffn.net.2", "ffn.2"),
]
NAMES = {f"blocks.{b}.{ours}": f"blocks.{b}.{wan}" for b in range(2) for ours, wan in BLOCK} | {
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "patch_embedding": "patch_embedding",
    "proj_out": "head.head",
}
SUBSETS = {
    "all": list(NAMES),
    "attention alone": [name for name in NAMES if ".attn1." in name],
    "block 1 alone": [name for name in NAMES if name.startswith("blocks.1.")],
    "half": list(NAMES)[::2],
}
# Of each naming: the name before the matrix, of a layer by both of its names; and what its matrices are called.
NAMINGS = {
    "diffusers": (lambda ours, wan: f"transformer.{ours}", ("lora_A.weight", "lora_B.weight")),
    "diffusers, old": (lambda ours, wan: f"transformer.{ours}", ("lora.down.weight", "lora.up.weight")),
    "peft": (lambda ours, wan: f"base_model.model.{ours}", ("lora_A.weight", "lora_B.weight")),
    "peft, adapter": (lambda ours, wan: f"base_model.model.{ours}", ("lora_A.my-lora.weight", "lora_B.my-lora.weight")),
    "peft, Wan": (lambda ours, wan: f"base_model.model.{wan}", ("lora_A.default.weight", "lora_B.default.weight")),
    "comfyui": (lambda ours, wan: f"diffusion_model.{wan}", ("lora_down.weight", "lora_up.weight")),
    "comfyui, A B": (lambda ours, wan: f"diffusion_model.{wan}", ("lora_A.weight", "lora_B.weight")),
    "comfyui, whole": (lambda ours, wan: f"model.diffusion_model.{wan}", ("lora_A", "lora_B")),
    "kohya": (lambda ours, wan: f"lora_unet_{wan.replace('.', '_')}", ("lora_down.weight", "lora_up.weight")),
    "kohya, two": (lambda ours, wan: f"lora_unet__{wan.replace('.', '_')}", ("lora_down.weight", "lora_up.weight")),
    "onetrainer": (
        lambda ours, wan: f"lora_transformer_{ours.replace('.', '_')}",
        ("lora_down.weight", "lora_up.weight"),
    ),
    "diffsynth": (lambda ours, wan: wan, ("lora_A.default.weight", "lora_B.default.weight")),
    "diffsynth, pipe": (lambda ours, wan: f"pipe.dit.{wan}", ("lora_A.default.weight", "lora_B.default.weight")),
    "bare, Wan": (lambda ours, wan: wan, ("lora_down.weight", "lora_up.weight")),
    "bare, diffusers": (lambda ours, wan: ours, ("lora_A.weight", "lora_B.weight")),
}


@pytest.fixture(scope="module")
def wan():
    """A plain Wan transformer of diffusers, whose weights are all random."""
    torch.manual_seed(0)
    model = WanTransformer3DModel(**CONFIG).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


@pytest.fixture
def pipe(wan):
    transformer = VideoTransformer(**CONFIG).eval()
    transformer.load_state_dict(wan.state_dict())
    return VideoPipeline(None, None, None, transformer, None)


def make_pairs(model, names, ranks=(4, 4), alphas=(6.0, 6.0), dtype=torch.float32):
    """A, B and alpha of each layer, ranks and alphas in turn."""
    generator = torch.Generator().manual_seed(1)
    pairs = {}
    for index, name in enumerate(names):
        weight, rank = model.get_submodule(name).weight, ranks[index % len(ranks)]
        a = torch.randn(rank, *weight.shape[1:], generator=generator) * 0.3
        b = torch.randn(len(weight), rank, *[1] * (weight.ndim - 2), generator=generator) * 0.3
        pairs[name] = (a.to(dtype), b.to(dtype), alphas[index % len(alphas)])
    return pairs


def named(pairs, naming, with_alpha=True):
    stem, (down, up) = NAMINGS[naming]
    weights = {}
    for name, (a, b, alpha) in pairs.items():
        written = stem(name, NAMES[name])
        weights |= {f"{written}.{down}": a, f"{written}.{up}": b}
        if with_alpha:
            weights[f"{written}.alpha"] = torch.tensor(alpha)
    return weights


def deltas(pairs, scale=None):
    """(alpha / rank) B A by layer; alpha is the rank where a file has none."""
    result = {}
    for name, (a, b, alpha) in pairs.items():
        factor = alpha / len(a) if scale is None else scale(name, len(a), alpha)
        product = b.double().flatten(1) @ a.double().flatten(1)
        result[name] = (factor * product).reshape(len(b), *a.shape[1:])
    return result


def merged(wan, weights, biases=None):
    """The Wan transformer with differences added to its state dict."""
    state = {name: value.double() for name, value in wan.state_dict().items()}
    for kind, differences in (("weight", weights), ("bias", biases or {})):
        for name, difference in differences.items():
            state[f"{name}.{kind}"] += difference.double()
    model = copy.deepcopy(wan)
    model.load_state_dict(state)
    return model


@torch.no_grad()
def outputs(model, **scale):
    generator = torch.Generator().manual_seed(2)
    latent, text = torch.randn(1, 4, 3, 8, 4, generator=generator), torch.randn(1, 5, 16, generator=generator)
    if isinstance(model, VideoTransformer):
        return model([target(latent, torch.tensor([0.7]))], text, **scale)[0]
    return model(latent, torch.tensor([700.0]), text).sample


@torch.no_grad()
def effective(transformer, name):
    """What a layer does now less what its base does: its difference, read off unit inputs."""
    layer = transformer.get_submodule(name)
    if not hasattr(layer, "base_layer"):
        return torch.zeros_like(layer.weight)
    shape = layer.base_layer.weight.shape[1:]
    units = torch.eye(math.prod(shape)).reshape(-1, *shape)
    return (layer(units) - layer.base_layer(units)).reshape(len(units), -1).T.reshape(-1, *shape)


def check(pipe, wan, weights, biases=None):
    """Each layer's difference, the untouched ones included, and what the transformer makes of it."""
    for name in NAMES:
        if not biases:
            expected = weights.get(name, torch.zeros_like(wan.get_submodule(name).weight)).float()
            torch.testing.assert_close(effective(pipe.transformer, name), expected, atol=2e-5, rtol=1e-4)
    expected = outputs(merged(wan, weights, biases))
    torch.testing.assert_close(outputs(pipe.transformer), expected, atol=1e-4, rtol=1e-4)
    assert (expected - outputs(wan)).abs().max() > 0.05  # or the comparison says nothing
    assert not any(parameter.is_meta for parameter in pipe.transformer.parameters())


@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize("with_alpha", [True, False])
@pytest.mark.parametrize(("subset", "ranks"), [("all", (4, 4)), ("half", (2, 8, 3)), ("attention alone", (5, 1))])
def test_a_naming_is_loaded_exactly(pipe, wan, tmp_path, naming, with_alpha, subset, ranks):
    pairs = make_pairs(wan, SUBSETS[subset], ranks, alphas=(6.0, 1.0, 0.5))
    save_file(named(pairs, naming, with_alpha), tmp_path / "lora.safetensors")
    pipe.load_lora_weights(tmp_path / "lora.safetensors")
    check(pipe, wan, deltas(pairs, None if with_alpha else lambda *_: 1.0))


def test_a_convolution_may_be_flat(pipe, wan):
    pairs = make_pairs(wan, ["patch_embedding"])
    pipe.trained = TrainingRange(frames=(17,), codec_psnr=(1, 2, 3))
    pipe.register_to_config(default_prompt="a still view")
    pipe.load_lora_weights(
        {key: value.flatten(1) if value.ndim else value for key, value in named(pairs, "kohya").items()}
    )
    check(pipe, wan, deltas(pairs))
    assert pipe.trained == TrainingRange(codec_psnr=(1, 2, 3))  # what the LoRA knows is not known
    assert pipe.config.default_prompt == ""


@pytest.mark.parametrize("subset", SUBSETS)
def test_kohya_may_lack_layers(pipe, wan, subset):
    pairs = make_pairs(wan, SUBSETS[subset])
    pipe.load_lora_weights(named(pairs, "kohya"))
    check(pipe, wan, deltas(pairs))


CONFIGS = {
    "alpha": ({"r": 4, "lora_alpha": 10}, lambda name, rank, _: 10 / rank),
    "rslora": ({"r": 4, "lora_alpha": 10, "use_rslora": True}, lambda name, rank, _: 10 / math.sqrt(rank)),
    "patterns": (
        {"r": 4, "lora_alpha": 10, "alpha_pattern": {"blocks.1.*to_q": 3}, "rank_pattern": {r"^proj_out": 4}},
        lambda name, rank, _: (3 if name.startswith("blocks.1.") and name.endswith("to_q") else 10) / rank,
    ),
}


@pytest.mark.parametrize("place", ["folder", "file in it", "diffusers' metadata", "flat metadata"])
@pytest.mark.parametrize("config", CONFIGS)
def test_alpha_of_a_config(pipe, wan, tmp_path, config, place):
    values, scale = CONFIGS[config]
    pairs = make_pairs(wan, SUBSETS["all"])
    metadata = None
    if place == "diffusers' metadata":
        prefixed = {f"transformer.{name}": value for name, value in values.items()}
        metadata = {"format": "pt", "lora_adapter_metadata": json.dumps(prefixed)}
    elif place == "flat metadata":
        metadata = {name: json.dumps(value) for name, value in values.items()}
    else:
        (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", **values}))
    save_file(named(pairs, "peft", with_alpha=False), tmp_path / "adapter_model.safetensors", metadata)
    pipe.load_lora_weights(tmp_path if place == "folder" else tmp_path / "adapter_model.safetensors")
    check(pipe, wan, deltas(pairs, scale))


def test_a_pattern_of_a_config_is_of_the_names_in_the_file(pipe, wan, tmp_path):
    pairs = make_pairs(wan, SUBSETS["all"])
    config = {"r": 4, "lora_alpha": 4, "alpha_pattern": {"cross_attn.q": 20}}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    save_file(named(pairs, "peft, Wan", with_alpha=False), tmp_path / "adapter_model.safetensors")
    pipe.load_lora_weights(tmp_path)
    check(pipe, wan, deltas(pairs, lambda name, rank, _: (20 if name.endswith("attn2.to_q") else 4) / rank))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_any_floating_type(pipe, wan, tmp_path, dtype):
    pairs = make_pairs(wan, SUBSETS["all"], dtype=dtype)
    save_file(named(pairs, "comfyui"), tmp_path / "lora.safetensors")
    pipe.load_lora_weights(tmp_path / "lora.safetensors")
    check(pipe, wan, deltas({name: (a.float(), b.float(), alpha) for name, (a, b, alpha) in pairs.items()}))


def test_the_type_of_the_model_is_kept(pipe, wan):
    pipe.transformer.to(torch.bfloat16)
    pipe.load_lora_weights(named(make_pairs(wan, SUBSETS["all"]), "kohya"))
    assert {parameter.dtype for parameter in pipe.transformer.parameters()} == {torch.bfloat16}


def with_differences(wan, naming="comfyui"):
    """Pairs on half of the layers; whole differences of weights, biases and norms on others, some with both."""
    pairs = make_pairs(wan, SUBSETS["half"], (4, 2))
    weights, biases = deltas(pairs), {}
    held = named(pairs, naming)
    stem = NAMINGS[naming][0]
    for name in ["blocks.0.attn1.to_q", "blocks.0.attn1.to_k", "patch_embedding", "proj_out", "blocks.1.ffn.net.2"]:
        layer = wan.get_submodule(name)
        held[f"{stem(name, NAMES[name])}.diff"] = torch.randn_like(layer.weight) * 0.3
        weights[name] = weights.get(name, 0) + held[f"{stem(name, NAMES[name])}.diff"]
    for name in ["blocks.0.attn1.to_q", "blocks.1.attn2.to_v", "proj_out"]:
        biases[name] = held[f"{stem(name, NAMES[name])}.diff_b"] = torch.randn(wan.get_submodule(name).bias.shape)
    norms = {"attn1.norm_q": "self_attn.norm_q", "attn2.norm_k": "cross_attn.norm_k", "norm2": "norm3"}
    for ours, theirs in norms.items():
        name, written = f"blocks.1.{ours}", stem(f"blocks.1.{ours}", f"blocks.1.{theirs}")
        weights[name] = held[f"{written}.diff"] = torch.randn(24)
        if ours == "norm2":
            biases[name] = held[f"{written}.diff_b"] = torch.randn(24)
    return held, weights, biases


@pytest.mark.parametrize("naming", ["comfyui", "kohya", "bare, diffusers"])
def test_differences_of_weights_biases_and_norms(pipe, wan, naming):
    held, weights, biases = with_differences(wan, naming)
    held["diffusion_model.blocks.0.norm3.diff"] = torch.zeros(24)  # files have many of zero
    held["diffusion_model.blocks.0.self_attn.v.diff_b"] = torch.zeros(24)
    pipe.load_lora_weights(held)
    check(pipe, wan, weights, biases)


def test_a_bias_of_peft_is_weighed_as_its_matrices_are(pipe, wan):
    pairs = make_pairs(wan, ["proj_out", "blocks.0.ffn.net.2"], (4,), (6.0,))
    held = named(pairs, "diffusers")
    held["transformer.proj_out.lora_B.bias"] = torch.randn(16)
    pipe.load_lora_weights(held)
    check(pipe, wan, deltas(pairs), {"proj_out": 1.5 * held["transformer.proj_out.lora_B.bias"]})


def test_it_is_weighed_fused_taken_out_and_saved_as_any_other(pipe, wan, tmp_path):
    held, weights, biases = with_differences(wan)
    plain = outputs(wan)
    pipe.load_lora_weights(held)
    half = outputs(merged(wan, *({n: 0.5 * d for n, d in part.items()} for part in (weights, biases))))
    whole = outputs(merged(wan, weights, biases))
    kept = get_peft_model_state_dict(pipe.transformer, adapter_name="default_0")
    config = pipe.transformer.peft_config["default_0"].to_dict()
    VideoPipeline.save_lora_weights(tmp_path, kept, transformer_lora_adapter_metadata=config)

    def near(model, expected, **scale):
        torch.testing.assert_close(outputs(model, **scale), expected, atol=2e-4, rtol=2e-4)

    for scale, expected in ((0.5, half), (0.0, plain), (1.0, whole)):
        near(pipe.transformer, expected, attention_kwargs={"scale": scale})
    pipe.set_adapters("default_0", 0.5)
    near(pipe.transformer, half)
    pipe.set_adapters("default_0", 1.0)
    pipe.disable_lora()
    near(pipe.transformer, plain)
    pipe.enable_lora()
    pipe.fuse_lora(lora_scale=1.0)
    near(pipe.transformer, whole)
    pipe.unfuse_lora()
    near(pipe.transformer, whole)
    pipe.unload_lora_weights()
    near(pipe.transformer, plain)
    assert pipe.transformer.state_dict().keys() == wan.state_dict().keys()
    pipe.load_lora_weights(tmp_path)  # as it was saved
    near(pipe.transformer, whole)
    pipe.fuse_lora()
    pipe.unload_lora_weights()
    near(pipe.transformer, whole)
    assert pipe.transformer.state_dict().keys() == wan.state_dict().keys()


def test_it_is_the_same_where_layers_wait_in_another_memory(pipe, wan, monkeypatch):
    def offload():
        cpu_offload(pipe.transformer, torch.device("cpu"), offload_buffers=True)

    held, *differences = with_differences(wan)
    monkeypatch.setattr(pipe, "enable_sequential_cpu_offload", offload)  # which asks for an accelerator
    offload()
    assert next(pipe.transformer.parameters()).is_meta
    pipe.load_lora_weights(held)
    torch.testing.assert_close(outputs(pipe.transformer), outputs(merged(wan, *differences)), atol=2e-4, rtol=2e-4)
    assert next(pipe.transformer.parameters()).is_meta


def test_the_last_is_the_active_one(pipe, wan):
    held, *differences = with_differences(wan)
    pairs = make_pairs(wan, SUBSETS["block 1 alone"], (3,))
    pipe.load_lora_weights(held, adapter_name="one")
    pipe.load_lora_weights(named(pairs, "kohya"), adapter_name="two")
    torch.testing.assert_close(outputs(pipe.transformer), outputs(merged(wan, deltas(pairs))), atol=1e-4, rtol=1e-4)
    pipe.set_adapters("one")
    torch.testing.assert_close(outputs(pipe.transformer), outputs(merged(wan, *differences)), atol=2e-4, rtol=2e-4)


def test_every_layer_may_have_a_rank_of_its_own(pipe, wan):
    pairs = make_pairs(wan, SUBSETS["all"], range(1, 28), [number / 4 for number in range(1, 28)])
    pipe.load_lora_weights(named(pairs, "comfyui"), low_cpu_mem_usage=True)
    check(pipe, wan, deltas(pairs))


def test_two_at_once(pipe, wan):
    held, weights, _ = with_differences(wan)
    held = {key: value for key, value in held.items() if not key.endswith("diff_b")}
    pairs = make_pairs(wan, SUBSETS["block 1 alone"], (3,))
    pipe.load_lora_weights(named(pairs, "kohya"), adapter_name="one")
    pipe.load_lora_weights(held, adapter_name="two")
    pipe.set_adapters(["one", "two"])
    both = {name: weights.get(name, 0) + deltas(pairs).get(name, 0) for name in weights | pairs}
    torch.testing.assert_close(outputs(pipe.transformer), outputs(merged(wan, both)), atol=2e-4, rtol=2e-4)
    pipe.delete_adapters("two")
    torch.testing.assert_close(outputs(pipe.transformer), outputs(merged(wan, deltas(pairs))), atol=1e-4, rtol=1e-4)


def test_what_was_read_is_loaded_as_its_file_is(pipe, wan, tmp_path):
    pairs = make_pairs(wan, SUBSETS["all"])
    save_file(named(pairs, "diffsynth"), tmp_path / "lora.safetensors")
    pipe.load_lora_weights(read_lora(tmp_path / "lora.safetensors"))
    check(pipe, wan, deltas(pairs))
    assert re.fullmatch(r"default_\d", *pipe.get_active_adapters())
