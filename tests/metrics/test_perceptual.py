import importlib
import sys
from unittest import mock

import pytest
import torch

from vgen.errors import InputError
from vgen.metrics import StLpips, perceptual
from vgen.metrics.perceptual import SMALLEST, PerceptualDistance, _halve, _halved_convolution

NEVER_USED = ("torchvision", "torchvision.models", "IPython", "torchsummary")  # the package imports them


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 2, 3, 40, 33, generator=generator) * 2 - 1


def test_it_is_what_the_package_itself_computes(monkeypatch, images):
    pytest.importorskip("stlpips_pytorch")
    for name in NEVER_USED:
        monkeypatch.setitem(sys.modules, name, mock.MagicMock())
    package = importlib.import_module("stlpips_pytorch.stlpips")
    reference = package.LPIPS(net="alex", variant="shift_tolerant", verbose=False)
    expected = reference(*images).flatten()
    torch.testing.assert_close(PerceptualDistance.load()(*images), expected.detach(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("size", [(21, 21), (32, 27), (27, 32)])
def test_the_first_layer_is_a_convolution_and_a_blur(size):
    convolution = torch.nn.Conv2d(3, 4, 11, padding=2)
    images = torch.randn(2, 3, *size)
    torch.testing.assert_close(_halved_convolution(convolution, images), _halve(convolution(images)))


def test_gradients_flow_to_the_images_alone(images):
    distance = PerceptualDistance()
    prediction = images[0].requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        value = distance(prediction, images[1])
    value.sum().backward()
    assert value.dtype == torch.float32
    assert prediction.grad.isfinite().all()
    assert prediction.grad.abs().amax() > 0
    assert not any(parameter.requires_grad for parameter in distance.parameters())


def test_equal_images_and_a_black_place_have_a_finite_gradient():
    distance = PerceptualDistance()
    black = -torch.ones(1, 3, SMALLEST, SMALLEST)
    prediction = black.clone().requires_grad_()
    value = distance(prediction, black)
    value.sum().backward()
    assert value.item() == 0
    assert prediction.grad.isfinite().all()


def test_fewer_layers_are_the_first_of_them(images):
    whole = PerceptualDistance()
    part = PerceptualDistance(layers=2)
    part.load_state_dict(whole.state_dict(), strict=False)
    first_two = [features[:2] for features in (whole.features(images[0]), whole.features(images[1]))]
    torch.testing.assert_close(part(*images), part.between(*first_two))
    assert (whole(*images) > part(*images)).all()


@pytest.mark.parametrize(("layers", "nearest"), [(0, 1), (6, 5)])
def test_other_numbers_of_layers_are_refused(layers, nearest):
    with pytest.raises(InputError, match=f"nearest: {nearest}"):
        PerceptualDistance(layers)


def test_small_images_are_refused():
    with pytest.raises(InputError, match=f"20x64 .* nearest: {SMALLEST}x{SMALLEST}"):
        PerceptualDistance()(*torch.zeros(2, 1, 3, 20, 64))


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(perceptual, "PACKAGE", "no_such_package")
    with pytest.raises(InputError, match=r"vgen\[metrics\]"):
        PerceptualDistance.load()


def test_a_video_s_distance_is_the_mean_over_its_frames(monkeypatch):
    distance = PerceptualDistance()
    monkeypatch.setattr(PerceptualDistance, "load", lambda: distance)
    prediction, truth = torch.rand(2, 2, 3, 5, 24, 24)
    frames = torch.stack([distance(prediction[:, :, n], truth[:, :, n]) for n in (0, 2, 4)])
    torch.testing.assert_close(StLpips(frame_step=2)(prediction, truth), frames.mean(0))
