import pytest
import torch
from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs
from deepspeed.runtime.zero.stage_1_and_2 import estimate_zero2_model_states_mem_needs

from vgen.backbone.segments import target
from vgen.backbone.transformer import VideoTransformer
from vgen.train.memory import activations, model_states, parameters
from vgen.train.objectives.outline import Outline


@pytest.mark.parametrize("gpus", [1, 8])
def test_with_half_weights_it_is_what_deepspeed_estimates(gpus):
    def ours(stage, offload="none"):
        return model_states(10**9, 0, gpus, stage, offload, 10**7, live=0, average=False, weight_bytes=2).total

    def zero3(optimizer, weights):
        return estimate_zero3_model_states_mem_needs(10**9, 10**7, gpus, 1, optimizer, weights)[1]

    assert ours(2) == estimate_zero2_model_states_mem_needs(10**9, gpus, 1, False)[1]
    assert ours(2, "optimizer") == estimate_zero2_model_states_mem_needs(10**9, gpus, 1, True)[1]
    assert ours(3) == zero3(False, False)
    assert ours(3, "optimizer") == zero3(True, False)
    assert ours(3, "all") == zero3(True, True)


def test_stage_0_is_the_bytes_of_real_tensors():
    module = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Linear(16, 8))
    module[0].requires_grad_(False)
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad])
    module(torch.randn(2, 8)).sum().backward()
    optimizer.step()
    states = model_states(*parameters(module), 4, 0, average=False)
    assert states.weights == sum(p.nbytes for p in module.parameters())
    assert states.gradients == sum(p.grad.nbytes for p in module.parameters() if p.grad is not None)
    moments = [value for state in optimizer.state.values() for value in state.values() if value.ndim]
    assert states.optimizer == sum(value.nbytes for value in moments)


def test_each_stage_and_more_gpus_hold_less():
    totals = [model_states(10**9, 10**8, 8, stage, live=0).total for stage in range(4)]
    assert totals == sorted(totals, reverse=True)
    assert model_states(10**9, 0, 64, 3, live=0).total < model_states(10**9, 0, 8, 3, live=0).total
    assert model_states(10**9, 0, 8, 3, "all", live=0).host > model_states(10**9, 0, 8, 3, "optimizer", live=0).host


@pytest.mark.parametrize("checkpointing", [False, True])
def test_activations_are_those_that_a_model_keeps(checkpointing):
    """Within a tenth of what autograd holds of two blocks more."""

    def kept(layers):
        torch.manual_seed(0)
        sizes = {"num_attention_heads": 4, "attention_head_dim": 24, "ffn_dim": 384, "freq_dim": 32, "text_dim": 16}
        model = VideoTransformer(num_layers=layers, in_channels=4, out_channels=4, rope_max_seq_len=64, **sizes)
        model.set_attention_backend("native")  # diffusers' choice is global: another test may have made another one
        if checkpointing:
            model.enable_gradient_checkpointing()
        weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
        held = {}

        def pack(tensor):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights and tensor.shape[:1] != (96,) and tensor.shape[:1] != (384,):
                held[storage.data_ptr()] = tensor, storage.nbytes()
            return tensor

        segment = target(torch.randn(2, 4, 4, 32, 32), torch.rand(2))
        autocast = torch.autocast("cpu", torch.bfloat16)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), autocast:
            model([segment], torch.randn(2, 24, 16))
        casts = sum(size for tensor, size in held.values() if set(tensor.shape) <= {96, 384} and tensor.ndim == 2)
        return sum(size for _, size in held.values()) - casts

    backbone = {"num_attention_heads": 4, "attention_head_dim": 24, "ffn_dim": 384}
    outlines = [
        Outline({}, None, [13], 16, batch=1, backbone=backbone | {"num_layers": n}, text_tokens=24) for n in (1, 3)
    ]
    estimated = [activations(outline, 2, 4 * 16 * 16, checkpointing=checkpointing) for outline in outlines]
    assert estimated[1] - estimated[0] == pytest.approx(kept(3) - kept(1), rel=0.1)
