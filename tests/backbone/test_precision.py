"""Mixed precision: bfloat16 where the machine has instructions for it, and nowhere else."""

import pytest
import torch

from vgen.backbone import precision
from vgen.backbone.precision import autocast, computes_bf16


@pytest.mark.parametrize(("able", "wanted", "dtype"), [(1, 1, "bfloat16"), (0, 1, "float32"), (1, 0, "float32")])
def test_products_are_in_bfloat16_where_wanted_and_able(monkeypatch, able, wanted, dtype):
    monkeypatch.setattr(precision, "computes_bf16", lambda device_type: bool(able))
    with autocast("cpu", bool(wanted)):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == getattr(torch, dtype)


def test_an_accelerator_computes_in_bfloat16_and_a_cpu_without_its_instructions_does_not(monkeypatch):
    assert computes_bf16("cuda")
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    assert not computes_bf16("cpu")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not computes_bf16("cpu")
