"""A LoRA of any naming, put into a Wan transformer exactly: every layer W becomes W + (alpha / rank) B A, or one line
says which key does not fit."""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from peft.utils.other import get_pattern_key
from torch import Tensor, nn

from vgen.backbone.lora_files import Lora
from vgen.backbone.lora_layers import NormDifference
from vgen.backbone.lora_names import ANOTHER, MERGE, LayerParts, parse
from vgen.checks import show
from vgen.errors import InputError

Layer = nn.Linear | nn.Conv3d | nn.LayerNorm | nn.RMSNorm

_INITS = (None, True, False, "gaussian", "eva", "orthogonal")  # others change W itself
_SPECIAL = ("use_dora", "use_qalora", "layer_replication", "alora_invocation_tokens", "trainable_token_indices")


@dataclass(frozen=True)
class Change:
    """What a LoRA does to one layer: W + (alpha / rank) B A and b + bias; float32 or as in the file.

    Attributes:
        a: [rank, inputs], or [rank, *inputs and kernel] of a convolution.
        b: [outputs, rank].
        alpha: as peft weighs it.
        bias: [outputs]; None is none.
    """

    a: Tensor
    b: Tensor
    alpha: float
    bias: Tensor | None = None

    @property
    def scale(self) -> float:
        """What B A is weighed by."""
        return self.alpha / len(self.a)


@dataclass(frozen=True)
class Changes:
    """What a LoRA does to a transformer: matrices by layer, and the differences (weight, bias) of norms."""

    layers: dict[str, Change]
    norms: dict[str, tuple[Tensor | None, Tensor | None]]


def put_lora(transformer: WanTransformer3DModel, lora: Lora, adapter: str | None = None, **options: Any) -> None:
    """Puts a LoRA into a transformer as one more adapter of peft, beside W: it can be weighed, merged and taken out.

    Args:
        adapter: its name; "default_0", "default_1" ... without one.
        options: as `load_lora_adapter` of diffusers takes them (`hotswap`).

    Raises:
        InputError: a key of the file cannot be applied, or a weight does not fit its layer.
    """
    changes = read_changes(transformer, lora)
    taken = getattr(transformer, "peft_config", {})
    adapter = adapter or next(name for name in map("default_{}".format, itertools.count()) if name not in taken)
    try:
        weights, config = _as_peft(transformer, changes)
    except ValueError as error:
        raise InputError(f"lora={show(lora.name)} {error}") from error
    transformer.load_lora_adapter(
        weights, prefix=None, adapter_name=adapter, metadata=config, low_cpu_mem_usage=True, **options
    )
    _put_norms(transformer, changes, adapter)
    left = [name for name, value in transformer.named_parameters() if "lora_" in name and value.is_meta]
    assert not left, f"{left[0]} was not filled"


def _put_norms(transformer: WanTransformer3DModel, changes: Changes, adapter: str) -> None:
    for name in changes.norms:
        norm = transformer.get_submodule(name)
        if not isinstance(norm, NormDifference):
            transformer.set_submodule(name, NormDifference(norm))
    for name, norm in transformer.named_modules():
        if isinstance(norm, NormDifference):
            norm.put(adapter, *changes.norms.get(name, (None, None)))
            norm.set_adapter(adapter)  # as peft does: the one that is loaded last is the active one


def read_changes(transformer: WanTransformer3DModel, lora: Lora) -> Changes:
    """What a LoRA does to each layer of a transformer, whatever its naming.

    Raises:
        InputError: a key of the file cannot be applied, or a weight does not fit its layer.
    """
    try:
        _check_config(lora.config)
        modules = _modules(transformer)
        found = parse(lora.weights, modules, len(transformer.blocks))
        layers: dict[str, Change] = {}
        norms = {}
        for name, layer in found.items():
            _check_values(layer)
            if isinstance(modules[name], nn.Linear | nn.Conv3d):
                if change := _change(name, modules[name], layer, lora.config):
                    layers[name] = change
            elif any(_any(part) for part in layer.parts.values()):
                norms[name] = _norm_difference(name, modules[name], layer)
    except (ValueError, re.error) as error:  # a pattern of the config may be no regular expression
        raise InputError(f"lora={show(lora.name)} {error}") from error
    if not layers:
        raise InputError(f"lora={show(lora.name)} changes no layer but norms; {ANOTHER}")
    return Changes(layers, norms)


def _modules(transformer: WanTransformer3DModel) -> dict[str, Layer]:
    """The layers that have weights, by diffusers' names; those inside of an adapter count as themselves."""
    return {
        name.removesuffix(".base_layer"): module
        for name, module in transformer.named_modules()
        if isinstance(module, Layer) and getattr(module, "weight", None) is not None and "lora_" not in name
    }


def _any(tensor: Tensor) -> bool:
    """Whether it is not zero; a difference of zero, of which there are many, need not be kept."""
    return bool(tensor.float().any())  # float8 has no any


def _check_config(config: Mapping[str, Any]) -> None:
    for name in _SPECIAL:
        if config.get(name):
            raise ValueError(f"has {name}={show(config[name])} in its config, which is no plain LoRA; {MERGE}")
    if config.get("peft_type", "LORA") != "LORA":
        raise ValueError(f"is of peft's type {show(config['peft_type'])}, not LORA; {MERGE}")
    init = config.get("init_lora_weights")
    if init not in _INITS:
        raise ValueError(f"began from init_lora_weights={show(init)}, which changes the model's weights too; {MERGE}")


def _check_values(layer: LayerParts) -> None:
    for part, tensor in layer.parts.items():
        key = layer.keys[part]
        if not tensor.is_floating_point() and (part != "alpha" or tensor.is_complex()):
            raise ValueError(f"holds {key!r} in {str(tensor.dtype).removeprefix('torch.')}; use one in floating point")
        if not tensor.float().isfinite().all():
            raise ValueError(f"holds NaN or infinity in {key!r}; use another checkpoint of that training")
    if "alpha" in layer.parts and layer.parts["alpha"].numel() != 1:
        shape = list(layer.parts["alpha"].shape)
        raise ValueError(f"holds {layer.keys['alpha']!r} of shape {shape}; an alpha is one number")


def _change(name: str, module: Layer, layer: LayerParts, config: Mapping[str, Any]) -> Change | None:
    """What is found of a layer with a matrix, as one pair of matrices and a bias; None where that is nothing."""
    parts = layer.parts
    for part, other in (("A", "B"), ("B", "A"), ("alpha", "A"), ("bias", "B")):
        if part in parts and other not in parts:
            names = f"lora_{other} ({'lora_down' if other == 'A' else 'lora_up'})"
            raise ValueError(f"holds {layer.keys[part]!r} without {names} of that layer; use the whole file")
    pairs = []
    if "A" in parts:
        pairs.append(_pair(name, module, layer, config))
    if "diff" in parts and _any(parts["diff"]):
        pairs.append(_whole_difference(name, module, layer))
    bias = _bias(name, module, layer, pairs[0].scale if "A" in parts else 1.0)
    if bias is None and len(pairs) == 1:
        return pairs[0]
    if bias is None and not pairs:
        return None
    if not pairs:
        zero = torch.zeros(1, *module.weight.shape[1:])
        pairs = [Change(zero, torch.zeros(len(module.weight), 1), 1.0)]
    # peft would weigh a bias by alpha / rank, and has one pair to a layer
    a = torch.cat([pair.a.float() * pair.scale for pair in pairs])
    return Change(a, torch.cat([pair.b.float() for pair in pairs], dim=1), float(len(a)), bias)


def _pair(name: str, module: Layer, layer: LayerParts, config: Mapping[str, Any]) -> Change:
    a, b = layer.parts["A"], layer.parts["B"]
    outputs, inputs, rank = len(module.weight), module.weight[0].numel(), len(a) if a.ndim > 1 else 0
    given = f"{list(a.shape)} and {list(b.shape)}"
    if rank == 0 or a.numel() != rank * inputs or b.ndim < 2 or len(b) != outputs:
        fits = f"{name} takes [rank, {inputs}] and [{outputs}, rank]"
        raise ValueError(f"does not fit: {fits}, and {layer.keys['A']!r} and its pair are {given}; {ANOTHER}")
    if b.numel() != rank * outputs:
        raise ValueError(
            f"does not fit: {layer.keys['A']!r} and its pair are {given}, of two ranks; use the whole file"
        )
    a, b = a.reshape(rank, *module.weight.shape[1:]), b.reshape(outputs, rank)
    return Change(a, b, _alpha(layer, rank, config))


def _alpha(layer: LayerParts, rank: int, config: Mapping[str, Any]) -> float:
    """What peft is to divide by the rank: the layer's own alpha, that of the config, or else the rank."""
    if "alpha" in layer.parts:
        return layer.parts["alpha"].item()
    ranks, alphas = (_pattern(config, name) for name in ("rank_pattern", "alpha_pattern"))
    says = ranks.get(get_pattern_key(ranks, layer.name), config.get("r"))
    if says is not None and says != rank:
        raise ValueError(f"has rank {show(says)} for {layer.name} in its config, and {layer.keys['A']!r} has {rank}")
    alpha = alphas.get(get_pattern_key(alphas, layer.name), config.get("lora_alpha"))
    if alpha is None:
        return float(rank)
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise ValueError(f"has lora_alpha={show(alpha)} in its config; it must be a finite number")
    return float(alpha) * (math.sqrt(rank) if config.get("use_rslora") else 1.0)


def _pattern(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    pattern = config.get(name) or {}
    if not isinstance(pattern, dict):
        raise ValueError(f"has {name}={show(pattern)} in its config; it must map names to numbers")
    return pattern


def _whole_difference(name: str, module: Layer, layer: LayerParts) -> Change:
    """A difference of W itself, as a pair with the identity on its shorter side."""
    difference = _shaped(name, "weight", module, layer, "diff")
    outputs, inputs = len(difference), difference[0].numel()
    if isinstance(module, nn.Linear) and inputs < outputs:
        return Change(torch.eye(inputs), difference, float(inputs))
    return Change(difference, torch.eye(outputs), float(outputs))


def _bias(name: str, module: nn.Module, layer: LayerParts, scale: float) -> Tensor | None:
    """The difference of a layer's bias: peft's is weighed as B A is, the others' is not."""
    given = [
        _shaped(name, "bias", module, layer, part).float() * weight
        for part, weight in (("diff_b", 1.0), ("bias", scale))
        if part in layer.parts and _any(layer.parts[part])
    ]
    return functools.reduce(torch.add, given) if given else None


def _norm_difference(name: str, module: nn.Module, layer: LayerParts) -> tuple[Tensor | None, Tensor | None]:
    for part, key in layer.keys.items():
        if part not in ("diff", "diff_b"):
            raise ValueError(f"holds {key!r}, and {name} is a norm, which has no matrix; {ANOTHER}")
    weight, bias = (
        _shaped(name, kind, module, layer, part) if part in layer.parts else None
        for kind, part in (("weight", "diff"), ("bias", "diff_b"))
    )
    return weight, bias


def _shaped(name: str, kind: str, module: nn.Module, layer: LayerParts, part: str) -> Tensor:
    """A difference, of the shape of the weight or bias that it is added to."""
    base, difference = getattr(module, kind, None), layer.parts[part]
    if base is None or base.shape != difference.shape:
        has = f"no {kind}" if base is None else f"a {kind} of {list(base.shape)}"
        given = f"{layer.keys[part]!r} is {list(difference.shape)}"
        raise ValueError(f"does not fit: {name} has {has}, and {given}; {ANOTHER}")
    return difference


def _as_peft(transformer: WanTransformer3DModel, changes: Changes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The changes as peft's weights, in the type of each layer, and its config."""
    modules = _modules(transformer)
    biased = any(change.bias is not None for change in changes.layers.values())
    weights = {}
    for name, change in changes.layers.items():
        base = modules[name].weight
        b = change.b.reshape(*change.b.shape, *[1] * (base.ndim - 2))
        parts = {"lora_A.weight": change.a, "lora_B.weight": b}
        if biased:
            parts["lora_B.bias"] = torch.zeros(len(b)) if change.bias is None else change.bias
        for part, value in parts.items():
            weights[f"{name}.{part}"] = cast = value.to(base.dtype).contiguous()
            if not cast.isfinite().all():
                kind = str(base.dtype).removeprefix("torch.")
                raise ValueError(f"has weights of {name} that are too large for {kind}; load the model in bf16 or fp32")
    ranks = {name: len(change.a) for name, change in changes.layers.items()}
    alphas = {name: change.alpha for name, change in changes.layers.items()}
    (rank, _), (alpha, _) = (Counter(of.values()).most_common(1)[0] for of in (ranks, alphas))
    return weights, {
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": _patterns(ranks, rank),
        "alpha_pattern": _patterns(alphas, alpha),
        "target_modules": list(ranks),
        "lora_bias": biased,
    }


def _patterns(values: Mapping[str, float], usual: float) -> dict[str, float]:
    """Values by a pattern of all layers that have them: peft tries every pattern on every layer."""
    layers: dict[float, list[str]] = {}
    for name, value in values.items():
        if value != usual:
            layers.setdefault(value, []).append(re.escape(name))
    return {f"^({'|'.join(names)})": value for value, names in layers.items()}
