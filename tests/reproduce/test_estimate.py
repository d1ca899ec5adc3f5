import pytest
import torch
from toy_way import write_toy_profile

from vgen.commands import nano
from vgen.reproduce.on_paper import stages_on_paper
from vgen.reproduce.profile import load_profile


def test_a_dry_run_says_of_every_stage_what_it_takes_and_writes_nothing(tmp_path, capsys):
    profile = write_toy_profile(tmp_path)
    nano.main(["--profile", str(profile), "--out", str(tmp_path / "out"), "--dry-run", "data.there=adroit --workers 2"])
    said = capsys.readouterr().out
    for line in ("codec: ", "canvas: ", "hand: ", "state: ", "export: ", "weights trained", "ms a step", "memory "):
        assert line in said
    assert f"there is not there: vgen record adroit --workers 2 --out {tmp_path / 'data/there'}" in said
    assert not (tmp_path / "out").exists() and not (tmp_path / "cache").exists()


def test_operations_and_kept_bytes_are_those_of_the_real_step(tmp_path):
    """Six operations a weight and token, of the layers that a transformer has; two matrices of weights a layer."""
    paper = stages_on_paper(load_profile(str(write_toy_profile(tmp_path))), tmp_path / "scratch")["canvas"]
    model, canvases = paper.objective.denoiser, paper.objective.canvases
    tokens = canvases.clip_tokens(canvases_bucket()).given + model.strides.latent(9, 128, 128).tokens
    linear = [part for part in model.transformer.blocks.modules() if isinstance(part, torch.nn.Linear)]
    least = 6 * tokens * sum(part.weight.numel() for part in linear if part.in_features == 24) * 0.5
    assert paper.step.backbone == pytest.approx(2 * least, rel=1.0) and paper.step.backbone > least
    assert paper.step.kept > 4 * 2 * tokens * 24 * len(linear)
    assert paper.clips == 4 and paper.latents == 4 * 2 * 4 * 3 * 16 * 16


def canvases_bucket():
    from vgen.data.buckets import Bucket

    return Bucket(128, 128, 9)
