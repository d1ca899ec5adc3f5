"""Every trained weight that takes part gets a gradient, or the run says so."""

import pytest
import torch
from torch import nn
from toy_objective import ToyObjective

from vgen.errors import InputError
from vgen.train.distributed import Ranks
from vgen.train.gradients import STEPS, GradientWatch

ALONE = Ranks(0, 1, torch.device("cpu"))


class NoBackward(torch.autograd.Function):
    """A kernel that computes, and whose backward pass gives nothing."""

    @staticmethod
    def forward(ctx, x, gradient):
        ctx.gradient = gradient
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return (torch.zeros_like(gradient) if ctx.gradient == "zeros" else None), None


def through(kernel):
    """The toy's loss, with its second block behind a kernel."""

    def error(self, x, noise):
        y = self.blocks[1](x)
        y = y.detach() if kernel == "detached" else NoBackward.apply(y, kernel)
        return (self.head(y + self.blocks[0](x)) - x[:, :3] - noise).square().mean(1)

    return error


@pytest.mark.parametrize("stage", range(4))
def test_a_kernel_without_a_backward_pass_is_refused_in_the_first_step(run, tmp_path, monkeypatch, stage):
    monkeypatch.setattr(ToyObjective, "error", through("detached"))
    told = r"^2 \(blocks\.1\.bias, blocks\.1\.weight\) of 6 .* no gradient; .*objective\.attention"
    with pytest.raises(InputError, match=told):
        run(zero_stage=stage)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_backward_pass_that_gives_nothing_is_refused():
    """On a layer that ZeRO 3 does not replace, as another test may have let it."""
    model = nn.ModuleDict({"layer": nn.Conv1d(4, 4, 1)})
    _watch = GradientWatch(model, ALONE)
    with pytest.raises(InputError, match=r"^1 \(layer\.\w+\) of 2 trained weights .* no gradient"):
        NoBackward.apply(model["layer"](torch.ones(1, 4, 1)), "none").sum().backward()


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_a_gradient_of_zeros_alone_is_told_after_some_steps(run, monkeypatch, caplog, stage):
    monkeypatch.setattr(ToyObjective, "error", through("zeros"))
    run(zero_stage=stage, steps=STEPS - 1)
    assert "zeros alone" not in caplog.text
    run(zero_stage=stage, steps=3 * STEPS)
    assert caplog.text.count("2 (blocks.1.bias, blocks.1.weight) of 6 trained weights had a gradient of zeros") == 1


def test_what_starts_behind_a_zero_and_what_no_batch_calls_is_left_alone(caplog):
    """As the A of a LoRA, and the layers of another body."""
    model = nn.ModuleDict({"down": nn.Linear(4, 2), "up": nn.Linear(2, 4), "other": nn.Linear(4, 4)})
    nn.init.zeros_(model["up"].weight)
    watch, optimizer = GradientWatch(model, ALONE), torch.optim.SGD(model.parameters(), 0.1)
    for step in range(STEPS + 1):
        (model["up"](model["down"](torch.ones(1, 4))) - 1).square().sum().backward()
        assert step or not model["down"].weight.grad.any()
        watch.check()
        optimizer.step()
    assert not caplog.records
    assert not model["up"]._forward_pre_hooks
    assert not model["up"].weight._backward_hooks


def test_what_is_called_without_a_gradient_to_come_is_left_alone():
    model = nn.ModuleDict({"used": nn.Linear(4, 4), "looked_at": nn.Linear(4, 4)})
    watch = GradientWatch(model, ALONE)
    with torch.no_grad():
        seen = model["looked_at"](torch.ones(1, 4))
    model["used"](seen).sum().backward()
    watch.check()
