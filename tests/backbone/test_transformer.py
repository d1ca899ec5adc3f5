"""The backbone against diffusers' own model: alone, and with conditions built the long way."""

import pytest
import torch
from diffusers import WanTransformer3DModel
from einops import rearrange
from peft import LoraConfig
from tiny_wan import GivenRotation

from vgen.backbone.rope import rotary_embedding
from vgen.backbone.segments import condition, target
from vgen.backbone.transformer import TIMESTEPS, VideoTransformer

SHAPES = {
    "wan2.1-t2v-1.3b": {"num_attention_heads": 2, "attention_head_dim": 128, "in_channels": 16, "out_channels": 16},
    "wan2.2-ti2v-5b": {"num_attention_heads": 3, "attention_head_dim": 128, "in_channels": 48, "out_channels": 48},
}
COMMON = {"text_dim": 24, "freq_dim": 32, "ffn_dim": 64, "num_layers": 2, "patch_size": (1, 2, 2)}


@pytest.fixture(params=SHAPES)
def stock(request):
    torch.manual_seed(0)
    model = WanTransformer3DModel(**SHAPES[request.param], **COMMON).eval()
    for name, parameter in model.named_parameters():
        if "norm_q" in name:  # sharp attention, so that a wrong position shows
            torch.nn.init.constant_(parameter, 4.0)
        elif name.endswith("bias"):  # zero biases would hide mistakes
            torch.nn.init.normal_(parameter, std=0.1)
    return model


@pytest.fixture
def ours(stock):
    model = VideoTransformer(**stock.config).eval()
    model.load_state_dict(stock.state_dict(), strict=True)
    return model


@pytest.fixture
def inputs(stock):
    generator = torch.Generator().manual_seed(1)
    channels = stock.config.in_channels

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    return {
        "latent": draw(2, channels, 3, 4, 6),
        "given": draw(2, channels, 2, 4, 6),
        "t": torch.tensor([[0.25, 1.5], [2.0, 7.75]], dtype=torch.float64),
        "time": torch.tensor([0.75, 0.5]),
        "text": draw(2, 7, 24),
    }


def test_without_conditions_it_is_the_wan_model(stock, ours, inputs):
    expected = stock(inputs["latent"], inputs["time"] * TIMESTEPS, inputs["text"]).sample
    (got,) = ours([target(inputs["latent"], inputs["time"])], inputs["text"])
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def long_way(stock, inputs):
    """In-context conditioning on the stock model: condition frames put in front, its rotary table replaced, a timestep
    for every token with 0 for the conditions, and the conditions' outputs cut off by count."""
    given, latent, time = inputs["given"], inputs["latent"], inputs["time"]
    grid = torch.arange(latent.shape[2], dtype=torch.float64).expand(2, -1)
    positions = torch.cat([inputs["t"], grid], dim=1)
    stock.rope = GivenRotation(rotary_embedding(positions, 2, 3, stock.config.attention_head_dim))
    tokens = 2 * 3
    steps = torch.cat([torch.zeros(2, 2 * tokens), (time * TIMESTEPS)[:, None].expand(2, 3 * tokens)], dim=1)
    return stock(torch.cat([given, latent], dim=2), steps, inputs["text"]).sample[:, :, 2:]


@pytest.mark.parametrize("split", [False, True], ids=["one segment", "a segment each"])
def test_with_conditions_it_is_the_stock_model_the_long_way(stock, ours, inputs, split):
    given, t = inputs["given"], inputs["t"]
    conditions = [condition(given, t)]
    if split:
        conditions = [condition(given[:, :, [k]], t[:, [k]]) for k in range(2)]
    (got,) = ours([*conditions, target(inputs["latent"], inputs["time"])], inputs["text"])
    torch.testing.assert_close(got, long_way(stock, inputs), atol=1e-5, rtol=1e-5)


def test_outputs_are_those_of_the_targets_wherever_they_stand(ours, inputs):
    given, last = condition(inputs["given"], inputs["t"]), target(inputs["latent"], inputs["time"])
    (before,) = ours([given, last], inputs["text"])
    (after,) = ours([last, given], inputs["text"])
    torch.testing.assert_close(before, after, atol=1e-5, rtol=1e-5)


def test_a_condition_is_read_at_its_position(ours, inputs):
    end = target(inputs["latent"], inputs["time"])
    (here,) = ours([condition(inputs["given"], inputs["t"]), end], inputs["text"])
    (there,) = ours([condition(inputs["given"], inputs["t"] + 0.25), end], inputs["text"])
    assert (here - there).abs().max() > 1e-3


def test_saved_wan_weights_load_whole_and_go_back(stock, inputs, tmp_path):
    stock.save_pretrained(tmp_path / "wan")
    ours, report = VideoTransformer.from_pretrained(tmp_path / "wan", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    ours.save_pretrained(tmp_path / "ours")
    back = WanTransformer3DModel.from_pretrained(tmp_path / "ours")
    assert back.state_dict().keys() == stock.state_dict().keys()
    assert all(torch.equal(value, stock.state_dict()[key]) for key, value in back.state_dict().items())


def test_gradient_checkpointing_changes_no_gradient(ours, inputs):
    def gradient():
        ours.zero_grad()
        segments = [condition(inputs["given"], inputs["t"]), target(inputs["latent"], inputs["time"])]
        ours.train()(segments, inputs["text"])[0].square().mean().backward()
        return ours.blocks[0].attn1.to_q.weight.grad.clone()

    plain = gradient()
    ours.enable_gradient_checkpointing()
    torch.testing.assert_close(gradient(), plain)


def test_lora_starts_at_no_change_and_then_changes_the_output(ours, inputs):
    segments = [target(inputs["latent"], inputs["time"])]
    (plain,) = ours(segments, inputs["text"])
    ours.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_v"]))
    torch.testing.assert_close(ours(segments, inputs["text"])[0], plain)
    for name, parameter in ours.named_parameters():
        torch.nn.init.ones_(parameter) if "lora_B" in name else None
    assert not torch.allclose(ours(segments, inputs["text"])[0], plain, atol=1e-3)


def test_the_attention_backend_is_a_choice(ours, inputs):
    segments = [target(inputs["latent"], inputs["time"])]
    (plain,) = ours(segments, inputs["text"])
    ours.set_attention_backend("_native_math")
    assert ours.blocks[0].attn1.processor._attention_backend is not None
    torch.testing.assert_close(ours(segments, inputs["text"])[0], plain, atol=1e-5, rtol=1e-5)


def test_modulation_is_never_built_per_token(ours, inputs, monkeypatch):
    seen = []
    block = ours.blocks[0]
    block.register_forward_pre_hook(lambda _, args: seen.extend(m.shape for m in args[2]))
    ours([condition(inputs["given"], inputs["t"]), target(inputs["latent"], inputs["time"])], inputs["text"])
    width = rearrange(block.scale_shift_table, "one six d -> d (one six)").shape[0]
    assert seen == [(2, 6, width), (2, 6, width)]
