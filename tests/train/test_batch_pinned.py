from dataclasses import dataclass

import torch
from torch import Tensor

from vgen.train.batch import Batch


@dataclass(frozen=True)
class Clips(Batch):
    pixels: Tensor


def test_an_expanded_tensor_is_made_whole_before_it_is_pinned(monkeypatch):
    def pin(tensor):  # as torch's own, which needs a GPU
        assert tensor.is_contiguous(), "more than one element refers to a single memory location"
        return tensor

    monkeypatch.setattr(Tensor, "pin_memory", pin)
    batch = Clips(torch.arange(3).expand(2, 3))
    assert torch.equal(batch.pinned().pixels, batch.pixels)
