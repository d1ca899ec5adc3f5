import sys
from types import SimpleNamespace

import numpy as np
import pytest
import sets_bench
import torch
from completed_cases import moving
from long_suite.openings import Opening

from vgen.errors import InputError
from vgen.media.pixels import to_unit


def features(count, shift=0.0):
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(0)) + shift


def test_the_order_is_told_right_and_wrong():
    real = features(12)
    right = sets_bench.results_of({"real": real, "codec": real + 0.1, "shuffled": real + 3})
    assert all(right["order"].values())
    assert right["sets"]["real halves"]["clips"] == [6, 6]
    assert right["sets"]["codec"]["fvd"] == pytest.approx(5 * 0.1**2, rel=1e-4)
    wrong = sets_bench.results_of({"real": real, "codec": real + 3, "shuffled": real + 0.1})
    assert not any(wrong["order"][name] for name in ("fvd: codec < shuffled", "kvd: codec < shuffled"))
    assert sets_bench.table(wrong).count("WRONG") >= 2


def test_the_sets_are_the_codecs_and_the_shuffled_frames_of_the_same_clips(monkeypatch, capsys):
    class Steps(torch.nn.Module):
        """What changes from frame to frame: much where they are shuffled, and somewhat different by the codec's."""

        def forward(self, video):
            return video.diff(dim=2).abs().mean(dim=(3, 4)).flatten(1)

    clips = [Opening(str(n), "", np.roll(moving(1 + n % 2), n, axis=2), 15.0) for n in range(6)]
    monkeypatch.setattr(sets_bench, "of_recordings", lambda *_: clips)
    monkeypatch.setattr(sets_bench.I3D, "load", Steps)
    pipe = SimpleNamespace(vae=None, to=lambda device: pipe)
    monkeypatch.setattr(sets_bench.CanvasPipeline, "from_pretrained", lambda model: pipe)
    monkeypatch.setattr(sets_bench, "WanCodec", lambda vae: None)
    blurring = SimpleNamespace(reconstruct_video=lambda video: video * 0.98)
    monkeypatch.setattr(sets_bench, "Reconstruction", lambda *_, **__: blurring)
    monkeypatch.setattr(sys, "argv", ["sets_bench"])
    sets_bench.main()
    assert "WRONG" not in capsys.readouterr().out
    blurring.reconstruct_video = lambda video: torch.rand_like(video)
    with pytest.raises(SystemExit):
        sets_bench.main()
    monkeypatch.setattr(sets_bench, "of_recordings", lambda *_: clips[:3])
    with pytest.raises(InputError, match="3 clips make no two sets; nearest: 4"):
        sets_bench.main()


def test_h264_stands_in_for_the_models_codec(monkeypatch, capsys):
    clip = to_unit(moving()).permute(3, 0, 1, 2)[None]
    coarse, fine = (sets_bench.h264(crf)(clip) for crf in (45, 15))
    assert fine.shape == clip.shape and (fine - clip).abs().mean() < 0.5 * (coarse - clip).abs().mean()
    monkeypatch.setattr(sys, "argv", ["sets_bench", "--crf", "52"])
    with pytest.raises(InputError, match=r"--crf=52 must lie in 0 to 51; nearest: 51"):
        sets_bench.main()
