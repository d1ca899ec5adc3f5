"""Optimisers and the learning rate."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from vgen.backbone.precision import computes_bf16
from vgen.errors import InputError, unknown_key
from vgen.train.config import OptimizerConfig, ScheduleConfig


def build_optimizer(module: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """AdamW over the trainable parameters; those of one dimension (biases, norms) do not decay. With `muon`, Muon
    takes the hidden matrices instead.

    Raises:
        InputError: see `check_optimizer`.
    """
    rates = _rates(module, config)
    hidden = _hidden(module, config)
    taken = {id(p) for p in hidden}
    rest = [p for p in module.parameters() if p.requires_grad and id(p) not in taken]
    groups = [
        {"params": parameters, "lr": lr, "betas": tuple(config.betas), "weight_decay": decay}
        for decay, dimensions in ((config.weight_decay, (2, 3, 4, 5)), (0.0, (0, 1)))
        for lr, parameters in _by([p for p in rest if p.ndim in dimensions], rates).items()
    ]
    return _muon(hidden, groups, config, rates) if config.name == "muon" else torch.optim.AdamW(groups, fused=True)


def check_optimizer(module: nn.Module, config: OptimizerConfig) -> None:
    """Refuses what no optimiser can be built of, also for a module on paper.

    Raises:
        InputError: `muon` and no hidden matrix to train; or a factor of what is no trained part.
    """
    _rates(module, config)
    _hidden(module, config)


def _hidden(module: nn.Module, config: OptimizerConfig) -> list[nn.Parameter]:
    """The matrices that Muon takes."""
    hidden = hidden_matrices(module) if config.name == "muon" else []
    if config.name == "muon" and not hidden:
        raise InputError("optimizer.name=muon found no matrix in repeated blocks to train; use optimizer.name=adamw")
    return hidden


def _rates(module: nn.Module, config: OptimizerConfig) -> dict[int, float]:
    """The learning rate of each parameter, by its id.

    Raises:
        InputError: a factor of a part that the objective does not have, or does not train.
    """
    parts = [name for name, part in module.named_children() if any(p.requires_grad for p in part.parameters())]
    for name, factor in config.factors.items():
        if name not in parts:
            raise unknown_key(name, parts, "the trained parts of the objective, in optimizer.factors")
        if not factor > 0:
            raise InputError(f"optimizer.factors.{name}={factor} must be positive; 1 leaves the rate as it is")
    return {
        id(parameter): config.lr * config.factors.get(name.split(".")[0], 1.0)
        for name, parameter in module.named_parameters()
    }


def _by(parameters: Sequence[nn.Parameter], rates: Mapping[int, float]) -> dict[float, list[nn.Parameter]]:
    """Parameters by their learning rate."""
    groups = defaultdict(list)
    for parameter in parameters:
        groups[rates[id(parameter)]].append(parameter)
    return groups


def hidden_matrices(module: nn.Module) -> list[nn.Parameter]:
    """The trainable matrices that Muon is for: weights of linear layers within repeated blocks (module lists).
    Embeddings, input and output layers, convolutions and modulation tables are none."""
    blocks = [m for m in module.modules() if isinstance(m, nn.ModuleList)]
    layers = {id(m): m for block in blocks for m in block.modules() if isinstance(m, nn.Linear)}
    weights = [layer.weight for layer in layers.values()]
    return [weight for weight in weights if isinstance(weight, nn.Parameter) and weight.requires_grad]


def _muon(
    hidden: list[nn.Parameter], rest: list[dict[str, Any]], config: OptimizerConfig, rates: Mapping[int, float]
) -> torch.optim.Optimizer:
    """DeepSpeed's Muon, because it also runs under ZeRO. Its step is orthogonal, times sqrt(max(1, rows / columns));
    with 0.2 * sqrt(columns) on top, an entry moves by 0.2 * lr (root mean square), as it does in a usual step of
    AdamW, so that learning rates carry over (arXiv 2502.16982, eq. 4)."""
    from deepspeed.accelerator import get_accelerator  # late: a plan, which needs no optimiser, does without

    if get_accelerator().device_name() == "cpu":  # under ZeRO 3 weights wait on the CPU for a GPU
        _fit_muon_to_cpu()
    from deepspeed.runtime.zero.muon.muon_optimizer import MuonWithAuxAdam

    alike = defaultdict(list)
    for parameter in hidden:
        alike[rates[id(parameter)], parameter.shape[1]].append(parameter)
    for parameter in (p for group in rest for p in group["params"]):
        parameter.use_muon = False  # the marks that ZeRO looks at
    for parameter in hidden:
        parameter.use_muon = True  # type: ignore[attr-defined]
    matrices = [
        {
            "params": parameters,
            "use_muon": True,
            "lr": lr * 0.2 * math.sqrt(columns),
            "momentum": config.momentum,
            "weight_decay": config.weight_decay / (0.2 * math.sqrt(columns)),  # decays by lr * weight_decay, as AdamW
            "ns_method": "standard",
        }
        for (lr, columns), parameters in alike.items()
    ]
    others = [{"eps": 1e-8, "use_muon": False, **group} for group in rest]
    return MuonWithAuxAdam(matrices + others, adam_optimizer=torch.optim.AdamW)


def _fit_muon_to_cpu() -> None:
    """Takes DeepSpeed's update as it is written, since compiling it costs minutes on a CPU and gains nothing there; in
    float32 where the CPU has no instructions for the bfloat16 that DeepSpeed expects of every CPU."""
    from deepspeed.runtime.zero.muon import muon_optimizer, original_muon

    original_muon.ns_compute_dtype = lambda ns_method="gram": torch.bfloat16 if computes_bf16("cpu") else torch.float32
    for module in (original_muon, muon_optimizer):
        for name, function in list(vars(module).items()):
            setattr(module, name, getattr(function, "_torchdynamo_orig_callable", function))


def learning_rate_factor(step: int, progress: float, config: ScheduleConfig) -> float:
    """The share of the full learning rate at a step: a linear warm-up over steps, then a cosine over `progress`
    in [0, 1] down to the floor; where they overlap, the smaller."""
    warmup = min(1.0, (step + 1) / max(1, config.warmup_steps))
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return min(warmup, config.floor + (1 - config.floor) * cosine)


def scale_learning_rates(optimizer: torch.optim.Optimizer, full: Sequence[float], factor: float) -> None:
    """Sets every group's rate to `factor` of its full one."""
    for group, rate in zip(optimizer.param_groups, full, strict=True):
        group["lr"] = rate * factor
