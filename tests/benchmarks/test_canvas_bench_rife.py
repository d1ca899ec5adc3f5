import importlib
import sys
from importlib.util import find_spec
from types import ModuleType

import pytest
import torch
from canvas_bench_fakes import bar_clips
from canvas_suite.rife import PACKAGE, WEIGHTS, Rife, _moved, interpolate
from canvas_suite.tasks import ClipShape, give, select, whole_frames

from vgen.metrics.packaged import packaged_file

SHAPE = ClipShape(length=9, height=16, width=48, stride=4)


def test_it_is_the_package_s_own_network(monkeypatch):
    if find_spec(PACKAGE) is None:
        pytest.skip("the package is not installed")
    folder = packaged_file(PACKAGE, WEIGHTS, "").parent.parent
    package = ModuleType("unstarted")  # its __init__ wants VapourSynth
    package.__path__ = [str(folder)]
    monkeypatch.setitem(sys.modules, "unstarted", package)
    reference = importlib.import_module("unstarted.IFNet_HDv3").IFNet()
    reference.load_state_dict(torch.load(folder / "models/rife.pkl", "cpu", weights_only=True))
    before, after = torch.rand(2, 1, 3, 32, 64)
    with torch.no_grad():
        expected = reference(before, after, torch.full((1, 1, 1, 1), 0.3))
        torch.testing.assert_close(Rife.load()(before, after, 0.3), expected, rtol=0, atol=1e-3)


def test_a_flow_says_where_a_colour_comes_from():
    image = torch.rand(1, 3, 6, 8)
    flow = torch.tensor([2.0, 1.0])[None, :, None, None].expand(1, 2, 6, 8)
    torch.testing.assert_close(_moved(image, flow)[..., :5, :6], image[..., 1:, 2:])


def test_frames_between_come_from_the_nearest_given_ones():
    clips = torch.linspace(-1, 1, 9).square()[:, None, None].expand(2, 3, 9, 16, 48)
    given = give(clips, [whole_frames([0, 4, 8], SHAPE)] * 2)
    video = interpolate(lambda before, after, time: before + (after - before) * time, given, 9)
    assert torch.equal(video[:, :, [0, 4, 8]], clips[:, :, [0, 4, 8]])
    torch.testing.assert_close(video[:, :, 5], clips[:, :, 4] * 0.75 + clips[:, :, 8] * 0.25)


@pytest.mark.parametrize("task", ["image to video", "one patch", "inpainting"])
def test_other_tasks_are_not_its(task):
    given = give(bar_clips(2, 9), [select(task, SHAPE, (0, n)) for n in range(2)])
    assert interpolate(None, given, 9) is None
