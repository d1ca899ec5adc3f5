"""Models between two models."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_wan import save_tiny_wan

from vgen.canvas.pipeline import CanvasPipeline
from vgen.commands.blend import main
from vgen.errors import InputError
from vgen.train.blend import blend

FILE = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def models(tmp_path):
    """Two of one shape: every weight of the second one's transformer and codec is 1 more."""
    save_tiny_wan(tmp_path / "before")
    shutil.copytree(tmp_path / "before", tmp_path / "after")
    for part in ("transformer", "vae"):
        weights = load_file(tmp_path / "before" / part / FILE)
        save_file(
            {key: value + 1 for key, value in weights.items()}, tmp_path / "after" / part / FILE, {"format": "pt"}
        )
    return tmp_path / "before", tmp_path / "after"


def difference(folder, other, part):
    """How much more the weights of a component are than those of another folder's."""
    one, two = (load_file(each / part / FILE) for each in (folder, other))
    assert one.keys() == two.keys() and all(one[key].dtype == two[key].dtype for key in one)
    return torch.cat([(one[key] - two[key]).flatten().float() for key in one])


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_component_lies_between_and_all_else_is_the_second_models(models, tmp_path, share):
    before, after = models
    blend(before, after, {"transformer": share}, tmp_path / "out")
    between = difference(tmp_path / "out", before, "transformer")
    torch.testing.assert_close(between, torch.full_like(between, share), atol=1e-2, rtol=0)
    assert not difference(tmp_path / "out", after, "vae").any()
    roots = (after, tmp_path / "out")
    names = [sorted(str(file.relative_to(root)) for file in root.rglob("*")) for root in roots]
    assert "Of the way from before to after (WiSE-FT): transformer" in (tmp_path / "out/README.md").read_text()
    names[1].remove("README.md")
    assert names[0] == names[1] and not (tmp_path / "out.part").exists()
    CanvasPipeline.from_pretrained(tmp_path / "out")


@pytest.mark.parametrize("name", ["vae/config.json", "model_index.json"])
def test_a_configuration_that_is_damaged_is_refused(models, tmp_path, name):
    before, after = models
    (after / name).write_text('{"z_dim":')
    with pytest.raises(InputError, match=f"cannot read {name}"):
        blend(before, after, {"vae": 0.5}, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_what_is_refused_leaves_nothing(models, tmp_path):
    before, after = models
    cases = [
        ({"transformr": 0.5}, r"'transformr' is not in the components of .*nearest: 'transformer'"),
        ({"vae": 1.5}, r"share of vae=1.5 must lie in 0 to 1; nearest: 1"),
        ({"vae": float("nan")}, r"share of vae=.* must be a finite number in 0 to 1"),
    ]
    for shares, message in cases:
        with pytest.raises(InputError, match=message):
            blend(before, after, shares, tmp_path / "out")
    (after / "transformer" / FILE).write_bytes(b"damaged")
    with pytest.raises(InputError, match="cannot be read"):
        blend(before, after, {"transformer": 0.5}, tmp_path / "out")
    weights = load_file(before / "vae" / FILE)
    weights.pop(next(iter(weights)))
    save_file(weights, before / "vae" / FILE)
    with pytest.raises(InputError, match="have other weights"):
        blend(before, after, {"vae": 0.5}, tmp_path / "out")
    with pytest.raises(InputError, match="name another folder"):
        blend(before, after, {"transformer": 0.5}, after)
    assert not list(tmp_path.glob("out*"))


def test_a_model_inside_the_one_that_is_copied_is_whole(models, tmp_path, monkeypatch):
    before, after = models
    monkeypatch.chdir(after)
    blend(before, Path("."), {"vae": 0.5}, Path("inner"))
    assert not list(after.rglob(".*"))
    assert "from before to after" in (after / "inner/README.md").read_text()


def test_a_model_is_named_as_everywhere(models, tmp_path, monkeypatch):
    _, after = models
    monkeypatch.setattr("vgen.models.folders.INSTALLED", tmp_path)
    blend("before", after, {"vae": 0.5}, tmp_path / "out")
    assert "Of the way from before to after" in (tmp_path / "out/README.md").read_text()
    for name, message in (
        ("befor", "'befor' is no installed model .*; did you mean before"),
        ("some-owner/some-model", "'some-owner/some-model' is no folder here, .*; download it first"),
        (tmp_path, "have other weights"),
    ):
        with pytest.raises(InputError, match=message):
            blend(name, after, {"vae": 0.5}, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_what_a_codec_run_has_made_may_come_first(models, tmp_path):
    before, after = models
    shutil.copytree(before / "vae", tmp_path / "codec" / "vae")
    blend(tmp_path / "codec", after, {"vae": 0.5}, tmp_path / "out")
    between = difference(tmp_path / "out", before, "vae")
    torch.testing.assert_close(between, torch.full_like(between, 0.5), atol=1e-2, rtol=0)


def test_the_command(models, tmp_path, request):
    call = [sys.executable, request.config.rootpath / "tools/blend.py", *models, "--out", tmp_path / "out"]
    wrong = subprocess.run([*call, "--share", "vae=half"], capture_output=True, text=True)
    assert wrong.returncode == 2 and "COMPONENT=SHARE" in wrong.stderr and "Traceback" not in wrong.stderr
    with pytest.raises(InputError, match=r"--share vae=1: vae has a share already, 0.5; keep one"):
        main([*map(str, models), "--out", str(tmp_path / "out"), "--share", "vae=0.5", "--share", "vae=1"])
    made = subprocess.run([*call, "--share", "vae=0.5", "--share", "transformer=0"], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    assert not difference(tmp_path / "out", models[0], "transformer").any()
    assert difference(tmp_path / "out", models[0], "vae").mean().item() == pytest.approx(0.5, abs=1e-2)
