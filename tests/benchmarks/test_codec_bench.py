import json
import sys
from itertools import pairwise

import codec_bench
import numpy as np
import pytest
import torch
from canvas_suite import judges, still_pictures
from canvas_suite.still_pictures import PAN_STEP, SAMPLES, held_out, pan, read_pictures
from diffusers import AutoencoderKLWan
from PIL import Image

from vgen.data.lerobot.writer import LeRobotWriter
from vgen.errors import InputError
from vgen.metrics import psnr

CAMERA = "observation.images.front"


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A tiny untrained codec in a model's folder."""
    torch.manual_seed(0)
    vae = AutoencoderKLWan(
        base_dim=4, z_dim=4, dim_mult=[1, 2], num_res_blocks=1, temperal_downsample=[True], scale_factor_temporal=2,
        scale_factor_spatial=2, latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
    )  # fmt: skip
    vae.save_pretrained(tmp_path / "model" / "vae")
    (tmp_path / "model" / "model_index.json").write_text("{}")
    monkeypatch.setattr(judges, "StLpips", lambda step: lambda p, t: (p - t).abs().mean(dim=(1, 2, 3, 4)))
    return tmp_path / "model"


@pytest.fixture
def pictures(tmp_path):
    """A picture wider than high, and one that is damaged."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8)[None, :, None], (60, 200, 3))
    Image.fromarray(np.ascontiguousarray(ramp)).save(folder / "ramp.png")
    (folder / "torn.png").write_bytes(b"\x89PNG and no more")
    return folder


@pytest.fixture
def data(tmp_path):
    names = {"observation.state": ["x"], "action": ["dx"]}
    writer = LeRobotWriter(tmp_path / "clips", 20, names, [CAMERA])
    for number in range(2):
        video = np.full((12, 24, 40, 3), 90 + number, np.uint8)
        state = np.zeros((12, 1), np.float32)
        writer.add_episode({"observation.state": state, "action": state}, {CAMERA: video}, "nothing moves")
    writer.finish({"train": (0, 1), "test": (1, 2)})
    return tmp_path / "clips"


def run_main(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["codec_bench.py", *map(str, arguments)])
    codec_bench.main()


def test_data_and_pictures_are_measured_in_both_modes(monkeypatch, tmp_path, model, data, pictures, capsys, caplog):
    monkeypatch.setattr(codec_bench, "samples", lambda: {"coffee": pictures / "ramp.png"})
    options = ["--model", model, "--data", data, "--pictures", pictures, "--size", 32, "--frames", 5, "--clips", 1]
    run_main(monkeypatch, *options, "--out", tmp_path / "out.json", "--contact-sheets", tmp_path / "sheets")
    held = json.loads((tmp_path / "out.json").read_text())["held"]
    assert {name: (entry["size"], len(entry["names"])) for name, entry in held.items()} == {
        "clips (test)": ([24, 40], 1), "photographs": ([32, 32], 1), "coffee": ([32, 32], 1)
    }  # fmt: skip
    for entry in held.values():
        assert set(entry["means"]["image"]) == set(entry["means"]["video"]) == {"psnr", "ssim", "st_lpips"}
    assert held["photographs"]["names"] == ["ramp"]
    assert "left out" in caplog.text and "torn.png" in caplog.text
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].split() == ["n", "size", "PSNR", "SSIM", "ST-LPIPS", "PSNR", "SSIM", "ST-LPIPS"]
    assert max(map(len, lines[2:])) < 101
    assert len(list((tmp_path / "sheets").iterdir())) == 3


def test_a_score_is_that_of_the_codec_s_own_pixels(model, pictures):
    codec = codec_bench.Reconstruction(codec_bench.WanCodec(codec_bench.load_vae(model / "vae")), batch=2)
    held = codec_bench.of_pictures("ramp", read_pictures({"ramp": pictures / "ramp.png"}, (32, 32), 5))
    made = codec_bench.by_codec(codec, held)
    entry = codec_bench.measure(made, held, {"psnr": psnr})
    whole = codec.codec.decode(codec.codec.encode_video(held.truth["video"]))
    assert entry["means"]["video"]["psnr"] == pytest.approx(psnr(whole, held.truth["video"]).item())
    assert made["image"].shape == (1, 3, 1, 32, 32)


def test_a_linear_code_of_the_training_clips_stands_beside_the_codec(monkeypatch, tmp_path, model, data, capsys):
    run_main(monkeypatch, "--model", model, "--data", data, "--frames", 5, "--out", tmp_path / "out.json")
    results = json.loads((tmp_path / "out.json").read_text())
    assert results["definitions"]["linear_numbers"] == 4
    entry = results["held"]["clips (test)"]
    # frames of one grey are one number's, whatever its value
    assert entry["linear"]["means"]["video"]["psnr"] > 45 > entry["means"]["video"]["psnr"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[5].split()[:3] == ["linear", "code", f"{entry['linear']['means']['image']['psnr']:.2f}"]


@pytest.mark.parametrize(
    ("option", "message"),
    [(("--size", 33), "size=33x33 is not a multiple of 2 .*nearest: 32x32"), (("--frames", 4), "nearest: 3, 5")],
)
def test_what_the_codec_cannot_take_is_told_in_one_line(monkeypatch, tmp_path, model, pictures, option, message):
    Image.new("RGB", (64, 64)).save(pictures / "Shell.png")
    monkeypatch.setattr(codec_bench, "samples", dict)
    given = {"--size": 32, "--frames": 5} | dict([option])
    options = [each for pair in given.items() for each in pair]
    with pytest.raises(InputError, match=message):
        run_main(monkeypatch, "--model", model, "--pictures", pictures, *options, "--out", tmp_path / "out.json")


@pytest.mark.parametrize("split", ["test", "train"])
def test_without_clips_of_training_beside_those_measured_the_codec_stands_alone(
    monkeypatch, tmp_path, model, data, capsys, split
):
    info = data / "meta/info.json"
    splits = {"test": "0:2"} if split == "test" else {"train": "0:2"}
    info.write_text(json.dumps(json.loads(info.read_text()) | {"splits": splits}))
    options = ["--model", model, "--data", data, "--split", split, "--frames", 5]
    run_main(monkeypatch, *options, "--out", tmp_path / "out.json")
    assert "linear code" not in capsys.readouterr().out


def test_directions_that_say_nothing_do_not_count():
    g = torch.Generator().manual_seed(0)
    mixed = torch.linalg.qr(torch.randn(6, 6, generator=g)).Q
    spread = torch.tensor([3.0, 2.0, 1.0, 0.5, 0.01, 0.001])
    points = torch.randn(2, 6, 3, 20, 20, generator=g) * spread.view(1, 6, 1, 1, 1)
    latents = torch.einsum("ij,bjthw->bithw", mixed, points) + 5
    assert codec_bench.directions([latents]) == 4
    assert codec_bench.directions([latents], share=0.9) == 2


def test_pictures_that_are_all_measured_have_no_linear_code(monkeypatch, tmp_path, model, pictures, capsys, caplog):
    monkeypatch.setattr(codec_bench, "samples", dict)
    options = ["--model", model, "--pictures", pictures, "--size", 32, "--frames", 5]
    run_main(monkeypatch, *options, "--out", tmp_path / "out.json")
    assert "without a linear code" in caplog.text
    assert "linear code" not in capsys.readouterr().out


def test_a_linear_code_is_of_pictures_that_are_not_held_out_nor_objects(tmp_path, pictures):
    Image.new("RGB", (64, 64)).save(pictures / "Shell.png")
    Image.new("RGBA", (64, 64)).save(pictures / "kangaroo.png")
    assert set(still_pictures.for_training(pictures)) == {"ramp", "torn"}
    assert set(held_out(pictures)) == {"Shell"}


def test_a_pan_moves_by_whole_pixels():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 90, 3), dtype=np.uint8))
    views = [np.asarray(view) for view in pan(image, (32, 32), 5)]
    assert [view.shape for view in views] == [(32, 32, 3)] * 5
    for before, after in pairwise(views):
        assert np.array_equal(before[:, PAN_STEP:], after[:, :-PAN_STEP])


def test_pictures_kept_for_testing_stand_for_a_folder_that_has_some(pictures):
    assert list(held_out(pictures)) == ["ramp", "torn"]
    (pictures / "ramp.png").rename(pictures / "coffee.png")
    assert list(held_out(pictures)) == ["coffee"]


def test_scikit_image_s_pictures_are_found_where_it_is_installed(monkeypatch):
    pytest.importorskip("skimage")
    assert all(file.is_file() for file in still_pictures.samples().values())
    assert tuple(still_pictures.samples()) == SAMPLES
    monkeypatch.setattr(still_pictures, "find_spec", lambda name: None)
    assert still_pictures.samples() == {}


def test_two_of_one_name_are_refused_as_one_would_hide_the_other(monkeypatch, model, pictures):
    monkeypatch.setattr(codec_bench, "samples", dict)
    with pytest.raises(InputError, match="two of --data and --pictures are called photographs; measure one after"):
        run_main(monkeypatch, "--model", model, "--pictures", pictures, pictures, "--size", 32, "--frames", 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "nowhere"], "nowhere"),
        (["--pictures", "nowhere"], "photos=nowhere is no folder"),
        (["--frames", 0], "--frames 0 must be 1 or more; nearest: 1"),
        (["--size", 33], "33"),
        (["--frames", 6], "6"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line(monkeypatch, model, options, message):
    with pytest.raises(InputError, match=message) as told:
        run_main(monkeypatch, "--model", model, *options)
    assert "\n" not in str(told.value)
