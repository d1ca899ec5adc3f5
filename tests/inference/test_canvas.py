from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vgen.canvas.extend import generate
from vgen.canvas.keep import Seam
from vgen.canvas.placed import place
from vgen.canvas.spec import Canvas
from vgen.errors import InputError
from vgen.inference.canvas import run_canvas
from vgen.inference.settings import CanvasSettings


@pytest.mark.parametrize(
    "values, message",
    [
        ({"extend_to": 0}, "extend-to=0"),
        ({"loop": True}, "--loop needs --extend-to"),
        ({"steps": 0}, "steps=0 must lie in 1 to 1000; nearest: 1"),
    ],
)
def test_settings_are_checked(values, message):
    with pytest.raises(InputError, match=message):
        CanvasSettings(**values)
    with pytest.raises(InputError, match=message):
        CanvasSettings.from_dict(values)


def test_a_canvas_of_much_work_is_told_of_before_the_model_is_loaded(monkeypatch, caplog, tmp_path):
    def load(settings, pipeline):
        raise InputError("no model is needed")

    monkeypatch.setattr(CanvasSettings, "load", load)
    for side, told in ((128, 0), (1024, 1)):
        with pytest.raises(InputError, match="no model is needed"):
            run_canvas(Canvas(17, side, side), CanvasSettings("nano"), tmp_path / "out")
        assert caplog.text.count("64 times the tokens of 17 frames of 128x128, which nano makes") == told


def test_generate_hands_settings_on_and_adds_up_the_seconds():
    calls = []

    def pipe(canvas, **numbers):
        calls.append(numbers)
        noise = torch.randint(0, 256, (17, 4, 4, 3), generator=numbers["generator"], dtype=torch.uint8)
        seam = Seam(None, 1.0, None, 3.0)
        return SimpleNamespace(video=noise.numpy(), timings={"denoise": 1.0}, seam=seam, prompt="")

    canvas, timings, seams = Canvas(17, 4, 4, seed=3), {"load": 2.0}, []
    numbers = {"num_inference_steps": 5, "guidance_scale": 2}
    video = np.concatenate(list(generate(pipe, place(canvas), None, timings=timings, seams=seams, **numbers)))
    assert video.shape == (17, 4, 4, 3) and timings == {"load": 2.0, "denoise": 1.0}
    assert {name: calls[0][name] for name in numbers} == numbers
    long = np.concatenate(list(generate(pipe, place(canvas), 40, timings=timings, seams=seams)))
    assert len(long) == 40 and np.array_equal(long[:17], video) and timings["denoise"] == 4.0
    assert len(seams) == 4
    closed = np.concatenate(list(generate(pipe, place(canvas), 40, loops=True, timings={}, seams=[])))
    assert len(closed) == 40 and not np.array_equal(closed[-5:], long[-5:])
