import pickle

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate

from vgen.errors import InputError
from vgen.metrics import i3d, packaged
from vgen.metrics.i3d import BRANCHES, CLASSES, I3D, MIXED, VARIANCE_EPSILON, _Mixed, _padded, _pool, _Unit


def test_a_unit_strides_as_tensorflow_does():
    unit, video = _Unit(1, 1, 3, stride=2), torch.randn(1, 1, 5, 6, 7)
    kernel, bias = unit.convolution.weight[0, 0].detach().numpy(), unit.convolution.bias.item()
    # an odd side of 3 and a stride of 2: centres at 0, 2, ... where a side is odd, and at 1, 3, ... where it is even
    whole = correlate(video[0, 0].numpy(), kernel, mode="constant") + bias
    expected = torch.from_numpy(whole[0::2, 1::2, 0::2]).relu()
    torch.testing.assert_close(unit(video)[0, 0].detach(), expected)


def test_a_window_is_padded_behind_first():
    line = torch.arange(1.0, 6)[None, None, :, None, None]
    assert _padded(line, (2, 1, 1), (2, 1, 1)).flatten().tolist() == [1, 2, 3, 4, 5, 0]
    assert _pool(line, (2, 1, 1), (2, 1, 1)).flatten().tolist() == [2, 4, 5]


def test_a_mixed_module_has_four_branches_in_order():
    module = _Mixed(3, (1, 2, 3, 4, 5, 6))
    x = torch.rand(1, 3, 2, 4, 4)
    out = module(x)
    assert out.shape == (1, 1 + 3 + 5 + 6, 2, 4, 4)
    torch.testing.assert_close(out[:, :1], module.units[0](x))
    torch.testing.assert_close(out[:, 4:9], module.units[4](module.units[3](x)))


def made_up_weights(seed=0):
    """Random weights as the package has them, and a little smaller than they could be."""
    rng = np.random.default_rng(seed)
    some = rng.normal(size=997).astype(np.float32) / 50

    def unit(inputs, outputs, side):
        one = (1, 1, 1, 1, outputs)
        kernel = np.resize(some, (side, side, side, inputs, outputs))
        stats = {"mean": rng.normal(size=one).astype(np.float32), "var": rng.random(one, dtype=np.float32) + 0.5}
        return {"Conv_0": {"kernel": kernel}, "BatchNorm_0": {"bias": stats["mean"] / 2}}, {"BatchNorm_0": stats}

    params, stats = {}, {}
    for name, shape in {
        "Conv3d_1a_7x7": (3, 64, 7),
        "Conv3d_2b_1x1": (64, 64, 1),
        "Conv3d_2c_3x3": (64, 192, 3),
    }.items():
        params[name], stats[name] = unit(*shape)
    channels = 192
    for name, widths in MIXED.items():
        before = (channels, channels, widths[1], channels, widths[3], channels)
        shapes = zip(BRANCHES, before, widths, (1, 1, 3, 1, 3, 1), strict=True)
        units = {branch: unit(*shape) for branch, *shape in shapes}
        params[name], stats[name] = ({branch: made[n] for branch, made in units.items()} for n in (0, 1))
        channels = widths[0] + widths[2] + widths[4] + widths[5]
    kernel = rng.normal(size=(1, 1, 1, channels, CLASSES)).astype(np.float32)
    params["Logits/Conv3d_0c_1x1"] = {"Conv_0": {"kernel": kernel, "bias": kernel[0, 0, 0, 0]}}
    return {"params": params, "batch_stats": stats}


@pytest.fixture
def weights_file(tmp_path, monkeypatch):
    monkeypatch.setattr(i3d, "packaged_file", lambda *_: tmp_path / "weights")
    return tmp_path / "weights"


def test_the_package_s_weights_are_read_with_their_normalisation(weights_file):
    variables = made_up_weights()
    weights_file.write_bytes(pickle.dumps(variables))
    network = I3D.load()
    x = torch.randn(1, 64, 1, 2, 2)
    params, stats = (variables[part]["Conv3d_2b_1x1"] for part in ("params", "batch_stats"))
    product = np.einsum("ncthw,cd->nthwd", x.numpy(), params["Conv_0"]["kernel"][0, 0, 0])
    mean, variance = stats["BatchNorm_0"]["mean"], stats["BatchNorm_0"]["var"]
    expected = (product - mean) / np.sqrt(variance + VARIANCE_EPSILON) + params["BatchNorm_0"]["bias"]
    found = network.Conv3d_2b_1x1(x).permute(0, 2, 3, 4, 1)
    torch.testing.assert_close(found, torch.from_numpy(expected).relu(), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        assert network(torch.rand(1, 3, 9, 20, 24)).shape == (1, CLASSES)


class Runs:
    def __reduce__(self):
        return (print, ("this must never be printed",))


@pytest.mark.parametrize("content", [pickle.dumps(Runs()), pickle.dumps({"params": {}}), b"no pickle"])
def test_what_is_no_array_is_not_read(weights_file, capsys, content):
    weights_file.write_bytes(content)
    with pytest.raises(InputError, match="does not hold the weights of I3D"):
        I3D.load()
    assert "never" not in capsys.readouterr().out


def test_short_videos_are_refused():
    with pytest.raises(InputError, match="8 frames are too few for I3D; nearest: 9"):
        I3D()(torch.zeros(1, 3, 8, 16, 16))


def test_a_package_that_is_not_installed_is_named_with_its_command():
    with pytest.raises(InputError, match="no_such_package with its w is not installed; install it with: pip x"):
        packaged.packaged_file("no_such_package", "w", "pip x")
