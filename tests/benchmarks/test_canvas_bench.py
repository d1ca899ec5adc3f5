import json
import sys
from types import SimpleNamespace

import canvas_bench
import numpy as np
import pytest
import torch
from canvas_suite import judges
from canvas_suite.sampler import Sampler
from canvas_suite.tasks import Given
from diffusers import AutoencoderKLWan

from vgen.backbone.codec import WanCodec
from vgen.backbone.precision import computes_bf16
from vgen.data.lerobot.writer import LeRobotWriter
from vgen.errors import InputError

CAMERA = "observation.images.first_person"


class FakePipe:
    """A tiny untrained codec, and completions that are the noise drawn from the given generators."""

    def __init__(self, paradigm="in_context", padding="zeros"):
        torch.manual_seed(0)
        self.vae = AutoencoderKLWan(
            base_dim=4, z_dim=4, dim_mult=[1, 2], num_res_blocks=1, temperal_downsample=[True], scale_factor_temporal=2,
            scale_factor_spatial=2, latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
        ).eval()  # fmt: skip
        self.temporal_stride, self.device = 2, torch.device("cpu")
        self.transformer = SimpleNamespace(config=SimpleNamespace(paradigm=paradigm, condition_padding=padding))
        self.calls = []

    def to(self, device):
        return self

    def set_progress_bar_config(self, disable):
        pass

    def latent_shape(self, batch, frames, height, width):
        return batch, 4, 1 + (frames - 1) // 2, height // 2, width // 2

    def sample(self, conditions, prompts, *, frames, height, width, generator, num_inference_steps, guidance_scale):
        (given,) = conditions.segments
        assert len(given.latent) == len(prompts) == len(generator)
        self.latent = given.latent
        self.calls.append((given.t, list(prompts), num_inference_steps, guidance_scale))
        return torch.stack([torch.rand(3, frames, height, width, generator=g) * 2 - 1 for g in generator])


@pytest.fixture
def data(tmp_path):
    """Three episodes of a square that moves, one of them too short; the last two are the test split."""
    names = {"observation.state": ["x"], "action": ["dx"]}
    writer = LeRobotWriter(tmp_path / "data", 20, names, [CAMERA])
    for number, length in enumerate([30, 24, 9]):
        video = np.full((length, 32, 32, 3), 40, np.uint8)
        for frame in range(length):
            video[frame, 8:16, frame % 24 : frame % 24 + 8] = 220
        state = np.arange(length, dtype=np.float32)[:, None]
        writer.add_episode({"observation.state": state, "action": state}, {CAMERA: video}, f"slide {number}")
    writer.finish({"train": (0, 1), "test": (1, 3)})
    return tmp_path / "data"


def run_main(monkeypatch, *arguments):
    pipe = FakePipe()
    monkeypatch.setattr(judges, "StLpips", lambda step: lambda p, t: (p - t)[:, :, ::step].abs().mean(dim=(1, 2, 3, 4)))
    monkeypatch.setattr(canvas_bench.CanvasPipeline, "from_pretrained", lambda model: pipe)
    monkeypatch.setattr(canvas_bench.ModelInfo, "of", lambda pipe: SimpleNamespace(steps=3, guidance=1.5))
    monkeypatch.setattr(sys, "argv", ["canvas_bench.py", *map(str, arguments)])
    canvas_bench.main()
    return pipe


def test_everything_is_measured_and_written(monkeypatch, tmp_path, data, capsys):
    options = ["--data", data, "--clips", 3, "--frames", 13, "--alignment-clips", 2, "--out", tmp_path / "out.json"]
    pipe = run_main(monkeypatch, *options, "--contact-sheets", tmp_path / "sheets")
    results = json.loads((tmp_path / "out.json").read_text())
    assert [(clip["episode"], clip["start"]) for clip in results["clips"]] == [(0, 4), (0, 2), (0, 6)]
    assert len(results["tasks"]) == 7
    for task in results["tasks"].values():
        assert len(task["per_clip"]["model"]["psnr"]) == 3
        assert set(task["means"]["model"]) == {"psnr", "psnr_moving", "ssim", "st_lpips", "psnr_given"}
    assert ("edges" in results["tasks"]["inpainting"]["means"]) and "edges" not in results["tasks"]["first, last"][
        "means"
    ]
    assert (
        results["settings"]["steps"] == 3
        and results["settings"]["guidance"] == 1.5
        and results["settings"]["fps"] == 20
    )
    assert len(results["alignment"]["slope"]["model"]["slope_by_clip"]) == 2
    assert results["alignment"]["slope"]["truth"]["slope"] > 0.8
    assert "torch" in results["versions"]
    assert len(list((tmp_path / "sheets").iterdir())) == 3 * 7
    assert "image to video" in capsys.readouterr().out
    first_last = pipe.calls[1]
    assert first_last[0].tolist() == [[0, 6]] * 3 and first_last[1:] == (["slide 1"] * 3, 3, 1.5)


@pytest.mark.parametrize("prompt", ["", "nothing moves"])
def test_one_prompt_may_stand_for_all_captions(monkeypatch, data, capsys, prompt):
    options = ["--data", data, "--clips", 2, "--frames", 13, "--alignment-clips", 1, "--prompt", prompt]
    pipe = run_main(monkeypatch, *options)
    assert {said for _, prompts, *_ in pipe.calls for said in prompts} == {prompt}
    assert f'keep=model, prompt "{prompt}"' in capsys.readouterr().out


def test_seeds_and_networks_of_other_packages_stand_beside(monkeypatch, tmp_path, data, capsys):
    monkeypatch.setattr(judges, "I3D", SimpleNamespace(load=FakeNetwork))
    monkeypatch.setattr(judges, "Rife", SimpleNamespace(load=lambda: lambda before, after, time: before))
    options = ["--data", data, "--clips", 2, "--frames", 13, "--alignment-clips", 1, "--out", tmp_path / "out.json"]
    run_main(monkeypatch, *options, "--seeds", 2, "--fvd", "--peer", "rife", "--keep", "exact")
    results = json.loads((tmp_path / "out.json").read_text())
    first_last, image_to_video = (results["tasks"][task] for task in ("first, last", "image to video"))
    completions = [first_last["per_clip"][method] for method in ("model", "model_2")]
    for metric, best in {"psnr": max, "st_lpips": min}.items():
        pairs = list(zip(*(values[metric] for values in completions), strict=True))
        assert first_last["of_seeds"]["best"][metric] == pytest.approx(
            np.mean([best(pair) for pair in pairs]), rel=1e-5
        )
        assert first_last["of_seeds"]["mean"][metric] == pytest.approx(np.mean(pairs), rel=1e-5)
    assert "rife" in first_last["means"] and "rife" not in image_to_video["means"]
    assert first_last["means"]["model"]["fvd"] > 0
    assert first_last["means"]["model"]["psnr_given"] > 99  # as it is put back
    out = capsys.readouterr().out
    assert "parity with the standard FVD network unchecked; less is better; 2 clips" in out
    assert ["model", "mean", "best", "copy", "blend", "edges", "rife", "codec"] in map(str.split, out.splitlines())
    assert max(map(len, out.splitlines()[1:])) < 121  # the first names a folder


class FakeNetwork(torch.nn.Module):
    def forward(self, video):
        return video.mean(dim=(2, 3))[..., :2].flatten(1)


def test_what_is_not_installed_is_left_out_in_one_line(monkeypatch, caplog):
    def missing(*_):
        raise InputError("the package x is not installed; install it with: pip x")

    monkeypatch.setattr(judges, "StLpips", missing)
    monkeypatch.setattr(judges, "I3D", SimpleNamespace(load=missing))
    monkeypatch.setattr(judges, "Rife", SimpleNamespace(load=missing))
    found = judges.available(fvd=True, peers=["rife"], seeds=1, device=torch.device("cpu"))
    assert found.network is None and not found.peers and "st_lpips" not in found.metrics
    assert sorted(record.message for record in caplog.records) == [
        f"without {name}: the package x is not installed; install it with: pip x"
        for name in ("FVD", "RIFE", "ST-LPIPS")
    ]


def test_results_do_not_depend_on_the_batch(monkeypatch, tmp_path, data):
    for batch in (1, 2):
        options = ["--data", data, "--clips", 3, "--frames", 13, "--alignment-clips", 1]
        run_main(monkeypatch, *options, "--batch", batch, "--out", tmp_path / f"{batch}.json")
    one, two = (json.loads((tmp_path / f"{batch}.json").read_text()) for batch in (1, 2))
    for section in ("tasks", "alignment", "clips"):
        assert one[section] == two[section]


def test_bfloat16_changes_what_the_codec_computes_a_little(monkeypatch, tmp_path, data):
    for name, option in {"fp32": [], "bf16": ["--bf16"]}.items():
        options = ["--data", data, "--clips", 1, "--frames", 13, "--alignment-clips", 1]
        run_main(monkeypatch, *options, *option, "--out", tmp_path / f"{name}.json")
    full, half = (json.loads((tmp_path / f"{name}.json").read_text())["codec"]["means"] for name in ("fp32", "bf16"))
    for mode in ("video", "image"):
        assert (full[mode]["psnr"] != half[mode]["psnr"]) == computes_bf16("cpu")
        assert full[mode]["psnr"] == pytest.approx(half[mode]["psnr"], abs=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "nowhere"], "nowhere is not there; record it with: vgen record metaworld --out nowhere"),
        (["--frames", 9], "frames=9 is too short to measure alignment; the shortest is 13"),
        (["--stride", 5, "--frames", 13], "no episode of split 'test' has the 76 frames that frames=13 need"),
        (["--clips", 0], "--clips 0 must be 1 or more; nearest: 1"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line(monkeypatch, data, options, message):
    with pytest.raises(InputError, match="^" + message.replace("(", r"\(") + "$"):
        run_main(monkeypatch, "--data", data, *options)


def test_a_model_is_given_frames_by_the_paradigm_that_it_was_trained_for():
    frames = torch.tensor([[0, 5]])
    given = Given(torch.zeros(1, 2, 3, 32, 32), torch.ones(1, 2, 1, 32, 32, dtype=torch.bool), frames)
    for paradigm, expected in (("in_context", [0.0, 2.5]), ("nearest_slot", [0.0, 3.0])):
        pipe = FakePipe(paradigm)
        Sampler(pipe, WanCodec(pipe.vae), 2, 1.0, 1).complete(given, ["slide"], 9, [0])
        assert pipe.calls[0][0].tolist() == [expected]


def test_a_model_is_given_parts_padded_as_it_was_trained():
    masks = torch.zeros(1, 1, 1, 32, 32)
    masks[..., :16] = 1
    given = Given(torch.full((1, 1, 3, 32, 32), 0.5), masks, torch.tensor([[0]]))
    made = {}
    for padding in ("zeros", "nearest"):
        pipe = FakePipe(padding=padding)
        codec = WanCodec(pipe.vae)
        Sampler(pipe, codec, 2, 1.0, 1).complete(given, ["slide"], 9, [0])
        made[padding] = pipe.latent
    torch.testing.assert_close(made["nearest"], codec.encode_image(given.pixels[:, 0]))
    assert not torch.allclose(made["zeros"], made["nearest"])
