"""What a LoRA's file may hold that cannot be applied, and the line that says so."""

import json
import math

import pytest
import torch
from safetensors.torch import save_file

from vgen.backbone.pipeline import VideoPipeline
from vgen.backbone.transformer import VideoTransformer
from vgen.errors import InputError


@pytest.fixture(scope="module")
def pipe(tiny_model):
    """One for all, as a file that is refused changes nothing."""
    return VideoPipeline(None, None, None, VideoTransformer.from_pretrained(tiny_model, subfolder="transformer"), None)


Q = "diffusion_model.blocks.0.self_attn.q"


def pair(stem=Q, a=(4, 24), b=(24, 4)):
    return {f"{stem}.lora_A.weight": torch.randn(a), f"{stem}.lora_B.weight": torch.randn(b)}


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (pair(a=(4, 32)), r"blocks\.0\.attn1\.to_q takes \[rank, 24\] and \[24, rank\].*\[4, 32\] and \[24, 4\]"),
        (pair(b=(48, 4)), r"blocks\.0\.attn1\.to_q takes .*\[4, 24\] and \[48, 4\]; use a LoRA"),
        (pair(b=(24, 3)), r"\[4, 24\] and \[24, 3\], of two ranks"),
        (pair(a=(0, 24), b=(24, 0)), r"does not fit.*\[0, 24\]"),
        (pair(Q.replace(".0.", ".7.")), r"7\.self_attn.*is a block of a larger model: the last one here is 0"),
        (pair() | pair(Q.replace(".0.", ".7.")), r"holds .*7.self_attn.q.lora_A.weight \(and 1 more such keys\)"),
        (pair() | pair("diffusion_model.blocks.0.cross_attn.k_img"), "k_img.*is a layer of image-to-video models"),
        (pair() | pair("transformer.blocks.0.attn2.add_k_proj"), "add_k_proj.*image-to-video"),
        (pair() | pair("lora_te_layer_0"), "lora_te_layer_0.*is of a text encoder"),
        (pair() | pair("text_encoder.layers.0.q"), "text_encoder.*is of a text encoder"),
        (pair("transformer_2.blocks.0.attn1.to_q"), "transformer_2.*second transformer"),
        (pair() | {f"{Q}.dora_scale": torch.ones(24, 1)}, "dora_scale.*is DoRA; merge it"),
        (pair() | {f"{Q}.lora_magnitude_vector.default": torch.ones(24)}, "magnitude_vector.*is DoRA"),
        ({f"{Q}.lokr_w1": torch.ones(2, 2), f"{Q}.lokr_w2": torch.ones(12, 12)}, "lokr_w1.*is LoKr"),
        ({f"{Q}.hada_w1_a": torch.ones(2, 2)}, "hada_w1_a.*is LoHa"),
        ({f"{Q}.oft_blocks": torch.ones(2, 2)}, "oft_blocks.*is OFT"),
        ({f"{Q}.boft_R": torch.ones(2, 2)}, "boft_R.*is OFT"),
        (pair() | {f"{Q}.lora_mid.weight": torch.ones(2, 2)}, "lora_mid"),
        (pair() | {"diffusion_model.blocks.0.diff_m": torch.ones(6, 24)}, "diff_m.*modulation, which is no layer"),
        (pair() | {f"{Q}.weight": torch.ones(24, 24)}, "self_attn.q.weight.*a whole weight"),
        (pair() | {f"{Q}.surprise": torch.ones(1)}, "surprise.*is no part of a LoRA"),
        ({f"{Q}.lora_A.weight": torch.ones(4, 24)}, r"self_attn.q.lora_A.weight' without lora_B \(lora_up\)"),
        ({f"{Q}.lora_up.weight": torch.ones(24, 4)}, r"self_attn.q.lora_up.weight' without lora_A \(lora_down\)"),
        (pair() | {"blocks.0.self_attn.o.alpha": torch.tensor(1.0)}, "self_attn.o.alpha' without lora_A"),
        (pair() | {f"{Q}.alpha": torch.ones(2)}, r"self_attn.q.alpha' of shape \[2\]; an alpha is one number"),
        (pair() | {f"{Q}.alpha": torch.tensor(math.nan)}, "NaN or infinity in .*alpha"),
        (pair() | {f"{Q}.diff_b": torch.full((24,), math.inf)}, "NaN or infinity in .*diff_b"),
        (pair() | {f"{Q}.diff_b": torch.ones(23)}, r"bias of \[24\], and .*diff_b' is \[23\]"),
        (pair() | {f"{Q}.diff": torch.ones(24, 23)}, r"weight of \[24, 24\], and .*diff' is \[24, 23\]"),
        (pair() | {"diffusion_model.blocks.0.self_attn.norm_q.diff": torch.ones(23)}, r"norm_q has a weight of \[24\]"),
        (pair() | {"diffusion_model.blocks.0.self_attn.norm_q.diff_b": torch.ones(24)}, "norm_q has no bias"),
        (pair() | pair("blocks.0.norm3"), "blocks.0.norm2 is a norm"),
        ({"blocks.0.norm3.diff": torch.ones(24)}, "changes no layer but norms"),
        (pair() | pair("transformer.blocks.0.attn1.to_q"), "are the same part; keep one adapter"),
        ({key: value.to(torch.int8) for key, value in pair().items()}, "in int8; use one in floating point"),
        ({"unet.down.lora_A.weight": torch.ones(2, 2)}, "has no weight for this model's transformer: unet.down"),
    ],
)
def test_what_cannot_be_applied_is_one_line_that_names_the_key(pipe, tmp_path, weights, words):
    save_file(weights, tmp_path / "lora.safetensors")
    before = pipe.transformer.state_dict().keys()
    with pytest.raises(InputError, match=words) as caught:
        pipe.load_lora_weights(tmp_path / "lora.safetensors")
    assert str(caught.value).startswith("lora=") and "\n" not in str(caught.value) and len(str(caught.value)) < 500
    assert pipe.transformer.state_dict().keys() == before


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"use_dora": True}, "use_dora=True"),
        ({"peft_type": "LOHA"}, "type LOHA, not LORA"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights=pissa, which changes the model's weights"),
        ({"r": 8, "lora_alpha": 8}, r"rank 8 for blocks\.0\.self_attn\.q in its config, and .* has 4"),
        ({"lora_alpha": "much"}, "lora_alpha=much in its config; it must be a finite number"),
        ({"alpha_pattern": [1]}, r"alpha_pattern=\[1\]"),
        ({"lora_alpha": 8, "alpha_pattern": {"blocks.(": 2}}, "missing \\)"),
    ],
)
def test_a_config_that_cannot_hold_is_one_line(pipe, tmp_path, config, words):
    save_file(pair(), tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=words):
        pipe.load_lora_weights(tmp_path)


def test_what_the_models_type_cannot_hold_is_one_line(tiny_model):
    transformer = VideoTransformer.from_pretrained(tiny_model, subfolder="transformer", torch_dtype=torch.float16)
    weights = {key: value * 1e5 for key, value in pair().items()}
    with pytest.raises(
        InputError, match=r"blocks\.0\.attn1\.to_q that are too large for float16; load the model in bf16"
    ):
        VideoPipeline(None, None, None, transformer, None).load_lora_weights(weights)


def test_a_second_transformer_is_refused(pipe):
    with pytest.raises(InputError, match="load_into_transformer_2=True"):
        pipe.load_lora_weights(pair(), load_into_transformer_2=True)
