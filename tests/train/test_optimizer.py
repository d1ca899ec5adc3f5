import math

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from vgen.errors import InputError
from vgen.train import optimizer
from vgen.train.config import OptimizerConfig, ScheduleConfig
from vgen.train.optimizer import build_optimizer, hidden_matrices, learning_rate_factor, scale_learning_rates


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(5, 8)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(8, 32), nn.Linear(32, 8)) for _ in range(2))
        self.out = nn.Linear(8, 3)


def test_schedule_warms_up_then_anneals_to_the_floor():
    schedule = ScheduleConfig(warmup_steps=10, floor=0.1)
    assert learning_rate_factor(0, 0.0, schedule) == pytest.approx(0.1)
    assert learning_rate_factor(4, 0.0, schedule) == pytest.approx(0.5)
    assert learning_rate_factor(50, 0.5, schedule) == pytest.approx(0.55)
    assert learning_rate_factor(99, 1.0, schedule) == pytest.approx(0.1)
    assert learning_rate_factor(0, 2.0, ScheduleConfig(warmup_steps=0, floor=0.0)) == 0.0


def test_one_dimensional_parameters_do_not_decay():
    groups = build_optimizer(Small(), OptimizerConfig(weight_decay=0.3)).param_groups
    assert {p.ndim: group["weight_decay"] for group in groups for p in group["params"]} == {2: 0.3, 1: 0.0}


def test_scaled_rates_do_not_add_up():
    optimizer = build_optimizer(Small(), OptimizerConfig(lr=0.1))
    for _ in range(2):
        scale_learning_rates(optimizer, [0.1, 0.1], 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.05]


def test_hidden_matrices_are_those_of_blocks():
    model = Small()
    assert {id(p) for p in hidden_matrices(model)} == {id(m.weight) for block in model.blocks for m in block}


def test_muon_moves_as_far_as_adamw():
    """The root mean square of a first step is about lr for AdamW, and about 0.2 lr for Muon's matrices."""
    torch.manual_seed(0)
    model = Small()
    optimizer = build_optimizer(model, OptimizerConfig(name="muon", lr=1e-2, weight_decay=0.0))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = torch.randn_like(p)
    optimizer.step()
    move = {name: (p - before[name]).square().mean().sqrt().item() for name, p in model.named_parameters()}
    assert move["out.weight"] == pytest.approx(1e-2, rel=0.01)
    for name in ("blocks.0.0.weight", "blocks.0.1.weight"):
        assert math.isclose(move[name], 0.2e-2, rel_tol=0.35)


@pytest.mark.parametrize(("able", "dtype"), [(True, "bfloat16"), (False, "float32")])
def test_muon_computes_in_what_the_cpu_has_instructions_for(monkeypatch, able, dtype):
    monkeypatch.setattr(optimizer, "computes_bf16", lambda device_type: able)
    model, seen = Small(), set()
    made = build_optimizer(model, OptimizerConfig(name="muon"))
    sum(p.square().sum() for p in model.parameters()).backward()

    class Products(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function is torch.ops.aten.mm.default:
                seen.add(args[0].dtype)
            return function(*args, **(kwargs or {}))

    with Products():
        made.step()
    assert seen == {getattr(torch, dtype)}


def test_muon_needs_hidden_matrices():
    with pytest.raises(InputError, match="adamw"):
        build_optimizer(nn.Linear(4, 4), OptimizerConfig(name="muon"))


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_parts_may_learn_faster(name):
    """The rates that torch gets, against those of the same optimizer without factors."""
    model = nn.ModuleDict({part: nn.ModuleList([nn.Linear(4, 4)]) for part in ("old", "new")})
    rates = []
    for factors in ({}, {"new": 5.0}):
        optimizer = build_optimizer(model, OptimizerConfig(name=name, lr=1e-2, factors=factors))
        rates.append({id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]})
    for part, factor in (("old", 1), ("new", 5)):
        for parameter in model[part].parameters():
            assert rates[1][id(parameter)] == pytest.approx(factor * rates[0][id(parameter)])


def test_factors_of_unknown_parts_and_wrong_ones_are_refused():
    model = nn.ModuleDict({"ego": nn.Linear(4, 4)})
    with pytest.raises(InputError, match=r"'eggo'.*'ego'"):
        build_optimizer(model, OptimizerConfig(factors={"eggo": 5.0}))
    with pytest.raises(InputError, match=r"factors\.ego=0\.0 must be positive"):
        build_optimizer(model, OptimizerConfig(factors={"ego": 0.0}))
