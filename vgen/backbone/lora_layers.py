"""The difference of a norm, which some LoRA files hold beside their matrices, as a layer that peft's tools know."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn


class NormDifference(nn.Module, BaseTunerLayer):
    """A norm whose weight and bias are W + scale · dW and b + scale · db, for each active adapter.

    A norm is linear in both, so each difference is a norm of the same kind, added to the base. It is weighed, merged
    and removed as a LoRA layer of peft is.

    Args:
        base_layer: a LayerNorm or an RMSNorm.
    """

    adapter_layer_names = ("lora_norm",)
    other_param_names = ("scaling", "r")
    active_adapters: list[str]  # these are peft's
    get_base_layer: Callable[[], nn.Module]
    set_adapter: Callable[[str], None]

    def __init__(self, base_layer: nn.Module) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.lora_norm = nn.ModuleDict()
        self.scaling: dict[str, float] = {}
        self.r: dict[str, int] = {}  # diffusers counts the adapters of a layer by its ranks
        self.merged_adapters: list[str] = []
        self._disable_adapters = False

    def put(self, adapter: str, weight: Tensor | None, bias: Tensor | None) -> None:
        """Takes the differences [D] of an adapter, in place of those that it had; None is none."""
        if weight is None and bias is None:
            if adapter in self.lora_norm:
                del self.lora_norm[adapter]
            return
        norm = copy.deepcopy(self.base_layer)
        for name, difference in (("weight", weight), ("bias", bias)):
            base = getattr(norm, name, None)
            if base is not None:
                value = torch.zeros_like(base) if difference is None else difference.to(base)
                setattr(norm, name, nn.Parameter(value, requires_grad=False))
        self.lora_norm[adapter], self.scaling[adapter], self.r[adapter] = norm, 1.0, 1

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] to [..., D]."""
        result: Tensor = self.base_layer(x)
        if not self.disable_adapters and not self.merged:
            for adapter in self._active():
                result = result + self.scaling[adapter] * self.lora_norm[adapter](x)
        return result

    def _active(self) -> list[str]:
        return [adapter for adapter in self.active_adapters if adapter in self.lora_norm]

    def set_scale(self, adapter: str, scale: float) -> None:
        """Weighs one adapter."""
        if adapter in self.scaling:
            self.scaling[adapter] = scale

    def scale_layer(self, scale: float) -> None:
        """Weighs the active adapters, on top of what they weigh."""
        for adapter in self._active():
            self.scaling[adapter] *= scale

    def unscale_layer(self, scale: float | None = None) -> None:
        """Undoes `scale_layer`; without a number, all weighing."""
        for adapter in self._active():
            self.scaling[adapter] = self.scaling[adapter] / scale if scale else 1.0

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Adds the differences to the base."""
        for adapter in self._active() if adapter_names is None else adapter_names:
            if adapter in self.lora_norm and adapter not in self.merged_adapters:
                self._add(adapter, self.scaling[adapter])
                self.merged_adapters.append(adapter)

    def unmerge(self) -> None:
        """Takes them off again."""
        while self.merged_adapters:
            adapter = self.merged_adapters.pop()
            self._add(adapter, -self.scaling[adapter])

    def _add(self, adapter: str, scale: float) -> None:
        base, norm = self.get_base_layer(), self.lora_norm[adapter]
        for name, difference in norm.named_parameters():
            getattr(base, name).data += scale * difference.data
