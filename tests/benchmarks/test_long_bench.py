import json
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import long_bench
import numpy as np
import pytest
from completed_cases import moving, texture
from long_suite import runs
from long_suite.drift import Watch, at_horizons, horizons_of
from long_suite.openings import Opening

from vgen.canvas.extend import OVERLAP
from vgen.errors import InputError

FRAMES = 9


class Brightening:
    """Goes on with the last frame that it is given, each frame a little brighter; keeps what is given."""

    def __init__(self, by=2):
        self.by, self.calls = by, 0

    def __call__(self, canvas, generator=None):
        self.calls += 1
        given = canvas.patches[0].source
        frames = [given[min(n, len(given) - 1)].astype(int) for n in range(canvas.frames)]
        brighter = [frame + self.by * max(0, n - len(given) + 1) for n, frame in enumerate(frames)]
        return SimpleNamespace(video=np.clip(brighter, 0, 255).astype(np.uint8), prompt="")


def opening(step=0):
    return Opening("a", "a picture", moving(step, 20) // 4 + 20, 15.0)


def segments(by=2):
    return runs.Segments(Brightening(by), nullcontext)


def test_a_drift_of_colour_is_told_by_its_size_at_each_horizon():
    given = opening()
    total = 33
    seen = []
    canvas = runs.opened(given, FRAMES, 0, "model")
    found = runs.extension(segments(), canvas, total, {}, seen.append)
    assert sum(map(len, seen)) == total
    expected = [2 * max(0, n - OVERLAP + 1) for n in range(total)]
    assert found["curves"]["colour"] == pytest.approx(expected)
    assert found["at"]["colour"] == pytest.approx({"16": np.mean(expected[1:17]), "32": np.mean(expected[17:])})
    assert found["curves"]["sharpness"] == pytest.approx([1] * total, rel=1e-5)
    assert found["border_step"] == pytest.approx(2 / np.mean([0] * 4 + [2] * 21), rel=0.01)  # 4 stills, 7 borders


def test_a_loop_is_as_far_from_closed_as_its_last_frame_is_from_the_first():
    canvas = runs.opened(opening(), FRAMES * 2 - 1, 0, "model")
    still = runs.closed_loop(segments(0), canvas, 25, {}, lambda frames: None)
    assert still["closing_step"] == 1
    assert still["closing_psnr"] == 100
    drifting = runs.closed_loop(segments(), canvas, 25, {}, lambda frames: None)
    assert drifting["closing_step"] > 5
    assert drifting["closing_psnr"] < 25


def test_identity_is_the_cosine_to_the_given_frames_whatever_comes_after():
    import torch

    watch = Watch(texture()[None], {"half": lambda frames: torch.nn.functional.one_hot(
        torch.from_numpy((frames[:, 0, 0, 0] == texture()[0, 0, 0]).astype(int)), 2).float()})  # fmt: skip
    watch.see(np.stack([texture(), texture(seed=1)]))
    assert watch.curves()["half"] == [1, 0]
    assert watch.closing_step() == 1


def test_horizons_are_those_that_a_video_reaches():
    assert horizons_of(1025) == [16, 64, 256, 1024]
    assert horizons_of(41) == [16, 40]
    assert at_horizons(list(range(20)), [16, 64]) == {"16": 8.5}


def test_a_run_that_is_done_is_not_done_again_and_other_settings_are_refused(tmp_path, monkeypatch, capsys):
    class Pipe(Brightening):
        temporal_stride, size_multiple, device = 4, 1, SimpleNamespace(type="cpu")

        def to(self, device):
            return self

        def set_progress_bar_config(self, disable):
            pass

        def __call__(self, canvas, generator=None, num_inference_steps=None, guidance_scale=None):
            return super().__call__(canvas)

    pipe = Pipe()
    monkeypatch.setattr(long_bench.CanvasPipeline, "from_pretrained", lambda model: pipe)
    monkeypatch.setattr(long_bench.ModelInfo, "of", lambda pipe: SimpleNamespace(steps=3, guidance=1.0))
    monkeypatch.setattr(long_bench, "identity_networks", lambda folder, device: ({}, {"identity_dino": "none"}))
    monkeypatch.setattr(long_bench, "_openings", lambda args: [opening(1), opening(2)])
    out = tmp_path / "long"
    arguments = ["--frames", "25", "--segment", "17", "--loop", "20", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["long_bench", *arguments])
    long_bench.main()
    table, first, calls = capsys.readouterr().out, (out / "long.json").read_bytes(), pipe.calls
    assert "extension-exact" in table
    assert "without identity_dino: none" in table
    assert set(json.loads(first)["means"]) == {
        "extension-model", "extension-exact", "loop-model", "loop-exact", "recording"
    }  # fmt: skip
    assert (out / "runs" / "001-loop-exact.mp4").is_file()
    (out / "runs" / "001-loop-exact.json").unlink()
    long_bench.main()
    assert (out / "long.json").read_bytes() == first
    assert 0 < pipe.calls - calls < calls / 4
    monkeypatch.setattr(sys, "argv", ["long_bench", *arguments, "--seed", "1"])
    with pytest.raises(InputError, match="other settings, seed=0 and not 1"):
        long_bench.main()
