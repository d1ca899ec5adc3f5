"""What passes from an objective's `batch` to its loss: frozen dataclasses, moved between devices in one way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """The base of every batch. A field may be a tensor, a plain value, or a dataclass of the same kind.

    A batch with a field `clips` names there, sample by sample, what it was made of. The losses of a batch that holds
    others follow one after the other, in the order of its fields.
    """

    def to(self, device: torch.device | str) -> Self:
        """The same batch with every tensor in it, and in what it holds, on a device."""
        return _changed(self, lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> Self:
        """The same batch in memory from which a GPU takes it while it computes."""
        return _changed(self, lambda tensor: tensor.contiguous().pin_memory())  # expanded ones cannot be pinned

    def names(self) -> list[str]:
        """The clips that the batch was made of, in the order of its losses; nothing where it does not say."""
        return list(_names(self))


def _changed(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A batch, or a part of it, with every tensor in it changed."""
    if isinstance(value, Tensor):
        return change(value)
    if is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: _changed(getattr(value, field.name), change) for field in fields(value)}
        return replace(value, **parts)
    return value


def _names(batch: Batch) -> Iterator[str]:
    yield from getattr(batch, "clips", ())
    for field in fields(batch):
        if isinstance(value := getattr(batch, field.name), Batch):
            yield from _names(value)
