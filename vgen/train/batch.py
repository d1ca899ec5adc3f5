"""What passes from an objective's `batch` to its loss: frozen dataclasses, moved between devices in one way."""

from __future__ import annotations

from collections.abc import Iterator
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
        return _moved(self, device)

    def names(self) -> list[str]:
        """The clips that the batch was made of, in the order of its losses; nothing where it does not say."""
        return list(_names(self))


def _moved(value: Any, device: torch.device | str) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: _moved(getattr(value, field.name), device) for field in fields(value)})
    return value


def _names(batch: Batch) -> Iterator[str]:
    yield from getattr(batch, "clips", ())
    for field in fields(batch):
        if isinstance(value := getattr(batch, field.name), Batch):
            yield from _names(value)
