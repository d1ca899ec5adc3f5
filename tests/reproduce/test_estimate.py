from types import SimpleNamespace

import pytest
import torch
from crash_suite.toy_way import write_toy_profile
from tiny_parts import TRANSFORMER
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from vgen.backbone.segments import condition, target
from vgen.backbone.shapes import Strides
from vgen.backbone.transformer import VideoTransformer
from vgen.commands import nano
from vgen.data.buckets import Bucket
from vgen.reproduce import on_paper


def test_a_dry_run_says_of_every_stage_what_it_takes_and_writes_nothing(tmp_path, capsys):
    profile = write_toy_profile(tmp_path)
    nano.main(["--profile", str(profile), "--out", str(tmp_path / "out"), "--dry-run", "data.there=adroit --workers 2"])
    said = capsys.readouterr().out
    for line in ("codec: ", "canvas: ", "hand: ", "state: ", "export: ", "weights trained", "ms a step", "memory "):
        assert line in said
    assert f"there is not there: vgen record adroit --workers 2 --out {tmp_path / 'data/there'}" in said
    cores = ["machine=cpu", "ranks=2", "hand.set.objective.clips=null"]
    nano.main(["--profile", str(profile), "--out", str(tmp_path / "out"), "--dry-run", "--stage", "hand", *cores])
    said = capsys.readouterr().out
    assert "memory of each rank " in said and "cores of an AMD EPYC" in said and "all clips of 2 data sets" in said
    assert not (tmp_path / "out").exists() and not (tmp_path / "cache").exists()


def test_operations_and_kept_bytes_are_those_of_a_real_step():
    sizes = {**TRANSFORMER, "in_channels": 4, "out_channels": 4, "text_dim": 16}
    with on_paper.META:
        paper = VideoTransformer(**sizes)
    model = SimpleNamespace(strides=Strides(4, 8, 2), transformer=paper, text_tokens=64)
    told, real = on_paper._backbone(model, Bucket(64, 64, 9), 2), VideoTransformer(**sizes)
    real.set_attention_backend("native")  # diffusers' choice is global: another test may have made another one
    given = condition(torch.randn(1, 4, 2, 8, 8), torch.zeros(1, 2, dtype=torch.float64))
    asked = target(torch.randn(1, 4, 3, 8, 8), torch.zeros(1), None)
    kept = {}

    def keep(tensor):
        if not isinstance(tensor, torch.nn.Parameter):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    count = FlopCounterMode(display=False)  # which knows nothing of the CPU's own kernel of attention
    with sdpa_kernel(SDPBackend.MATH), count as counter, saved_tensors_hooks(keep, lambda tensor: tensor):
        real([given, asked], torch.randn(1, 64, 16))[0].sum().backward()
    assert told.backbone == counter.get_total_flops() > 0
    assert told.kept == pytest.approx(sum(kept.values()), rel=0.5)
