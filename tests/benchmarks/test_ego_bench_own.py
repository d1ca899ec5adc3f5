"""The benchmark on a data set of one's own: whole, without a model, at another rate and size, and what is refused."""

import json
import sys
from types import SimpleNamespace

import ego_bench
import numpy as np
import pytest
import torch
from ego_bench_fakes import CAMERA, FPS, LAYOUT, NAMES, SIZE, model_folder, paint, played, positions, record
from ego_bench_fakes import case as square
from ego_suite import trivial
from ego_suite.bodies import RecordedBody
from ego_suite.cases import START, read_cases
from ego_suite.looks import Looks
from ego_suite.own import left_out, own_body
from ego_suite.paths import PathErrors
from moving_square import write as write_square

from vgen.data.lerobot.writer import LeRobotWriter
from vgen.errors import InputError
from vgen.models import ModelInfo


@pytest.fixture(scope="module")
def folder(tiny_model, tmp_path_factory):
    folder = model_folder(tiny_model, tmp_path_factory.mktemp("ego") / "model")
    index = json.loads((folder / "model_index.json").read_text())
    sizes = {"default_height": SIZE, "default_width": SIZE}
    (folder / "model_index.json").write_text(json.dumps(index | sizes))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    record(folder)
    return folder / "data"


def run(monkeypatch, tmp_path, *options):
    out = tmp_path / "out.json"
    monkeypatch.setattr(sys, "argv", ["ego_bench.py", *map(str, options), "--out", str(out)])
    ego_bench.main()
    return json.loads(out.read_text())


def test_everything_that_a_data_set_has_is_measured(monkeypatch, tmp_path, folder, capsys):
    rows = positions(40, 0.3, until=1)
    writer = LeRobotWriter(tmp_path / "data", FPS, NAMES, [CAMERA])
    writer.add_episode({"observation.state": rows, "action": rows}, {CAMERA: paint(rows)}, "slide")
    writer.finish({"test": (0, 1)})
    monkeypatch.setattr(ego_bench, "available", lambda *_: SimpleNamespace(metrics={"st_lpips": near}, network=see))
    sections = "forward,perceptual,counterfactual,tracker,policy,baselines"
    options = ["--model", folder, "--data", tmp_path / "data", "--layout", LAYOUT]
    options += ["--clips", 1, "--advance", 4, "--steps", 1]
    monkeypatch.setattr(ego_bench.own, "SECTIONS", tuple(sections.split(",")))
    body = run(monkeypatch, tmp_path, *options)["bodies"]["data"]
    assert set(body) == set(sections.split(","))
    assert "needs groups" in body["counterfactual"]["missing"] and "--sections" in body["tracker"]["missing"]
    assert body["forward"]["16"]["n"] == body["perceptual"]["16"]["n"] == 1
    assert list(body["perceptual"]["16"]["st_lpips"]) == ["model", "none", "copy", "codec"]
    assert list(body["perceptual"]["16"]["fvd"]) == ["model", "none", "copy"]
    assert list(body["policy"]["ade"]["8"]) == [
        "n", "model", "mean of 8", "best of 8", "no sentence", "constant velocity", "stay put",
    ]  # fmt: skip
    assert body["policy"]["fde"]["8"]["stay put"] == pytest.approx(body["baselines"]["fde"]["8"]["stay put"])
    printed = capsys.readouterr().out
    for words in ("ST-LPIPS", "FVD", "FDE", "counterfactual: needs groups", "the most frequent text is right"):
        assert words in printed


def near(made, truth):
    return (made - truth).abs().mean(dim=(1, 2, 3, 4))


def see(video):
    return video.mean(dim=(3, 4)).flatten(1)[:, :8]


def test_baselines_need_no_model(monkeypatch, tmp_path, data):
    found = run(monkeypatch, tmp_path, "--model", "none", "--data", data, "--clips", 3, "--advance", 4)
    body = found["bodies"]["data"]
    assert list(body["forward"]["16"]["means"]) == ["copy"] and "latency" not in found
    assert all("--model is none" in body[name]["missing"] for name in ("policy", "inverse", "latency"))
    speed = {n: 0.1 + 0.05 * n for n in (2, 3, 4)}  # of the squares, in pixels a frame
    assert body["baselines"]["ade"]["8"]["stay put"] == pytest.approx(4.5 * np.mean(list(speed.values())), rel=0.2)
    assert body["baselines"]["fde"]["8"]["stay put"] > body["baselines"]["ade"]["8"]["stay put"]
    assert body["baselines"]["text_accuracy_most_frequent"] in (pytest.approx(1 / 3), pytest.approx(2 / 3))


def test_boxes_have_an_overlap_without_a_model(tmp_path):
    folder = write_square(tmp_path / "set", "hand_boxes", episodes=2)
    body = own_body(folder, "test", None, None, None, None)
    found = trivial.measure(body, "test", 4)
    assert 0 < found["hand_iou"]["32"]["stay put"] < found["hand_iou"]["8"]["stay put"] < 1
    assert found["text_accuracy_most_frequent"] == 1 and found["most_frequent"] == "move the square"
    assert "hands in the picture" in left_out(body, {"tracker"}, True, True)["tracker"]


def test_frames_and_rows_are_brought_to_the_models(tmp_path, folder):
    rows = positions(100, 0.2)
    writer = LeRobotWriter(tmp_path / "set", 2 * FPS, NAMES, [CAMERA])
    wide = np.repeat(np.repeat(paint(rows), 2, axis=1), 3, axis=2)
    writer.add_episode({"observation.state": rows, "action": rows}, {CAMERA: wide}, "slide")
    writer.finish({"test": (0, 1)})
    info = ModelInfo.read(folder)
    body = own_body(tmp_path / "set", "test", LAYOUT, "first_person", None, info)
    assert (body.rate, body.size) == (FPS, (info.height, info.width))
    (one,) = read_cases(body, "test", 1, 4, 0)
    assert one.video.shape[2:] == (info.height, info.width) and one.reach == 32
    assert one.trajectory.values == pytest.approx(rows[::2][: START + 33])
    assert one.trajectory.times == pytest.approx(np.arange(START + 33) / FPS)


def test_path_errors_are_means_of_distances():
    errors, truth = PathErrors(), np.zeros((8, 1, 3))
    off = np.arange(1.0, 9)[:, None, None] * [1.0, 0, 0]
    errors.add(8, truth, {"a": [off, 3 * off], "b": [truth]})
    found = errors.summary()
    assert found["ade"] == {"8": {"n": 1, "a": 9.0, "b": 0.0}} and found["fde"]["8"]["a"] == 16


def test_looks_tell_why_there_is_nothing():
    looks = Looks(None, None)
    looks(played([square(reach=8)]))
    assert "not installed" in looks.summary()["missing"]
    looks = Looks(near, see)
    looks(played([square(reach=8), square(0.1, reach=8)], copy=torch.zeros(2, 3, 9, SIZE, SIZE)))
    found = looks.summary()["8"]
    assert found["st_lpips"]["model"] == 0 < found["st_lpips"]["copy"]
    assert found["fvd"]["model"] == pytest.approx(0, abs=1e-9) and "codec" not in found["fvd"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layout", "pose7"], "--layout is of a data set of your own"),
        (["--model", "none"], "--model none is for a data set of your own"),
        (["--data", "{data}", "--bodies", "adroit"], "--bodies names those that the benchmark knows"),
        (["--data", "{data}", "--layout", "pose8"], "nearest: 'pose7'"),
        (["--data", "{data}", "--camera", "second_person"], "nearest: 'first_person'"),
        (["--data", "{data}", "--column", "observation.stat"], "nearest: 'observation.state'"),
        (["--data", "{data}", "--split", "tests"], "nearest: 'test'"),
        (["--data", "{data}", "--model", "{model}", "--layout", "pose7"], "--model none measures the baselines alone"),
        (["--data", "nowhere"], "nowhere is not a LeRobot dataset"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(monkeypatch, tmp_path, folder, data, options, message):
    with pytest.raises(InputError, match=message):
        run(monkeypatch, tmp_path, *(option.format(data=data, model=folder) for option in options))


def test_a_slower_data_set_and_several_cameras_are_refused(tmp_path, folder):
    rows = positions(20)
    writer = LeRobotWriter(tmp_path / "set", 5, NAMES, [CAMERA, "observation.images.side"])
    videos = dict.fromkeys((CAMERA, "observation.images.side"), paint(rows))
    writer.add_episode({"observation.state": rows, "action": rows}, videos, "slide")
    writer.finish({"test": (0, 1)})
    with pytest.raises(InputError, match="has 2 cameras; name one with --camera: first_person, side"):
        own_body(tmp_path / "set", "test", LAYOUT, None, None, None)
    with pytest.raises(InputError, match=r"trained at 20 frames/s of position4, and .* has 5"):
        own_body(tmp_path / "set", "test", LAYOUT, "side", None, ModelInfo.read(folder))


def test_a_body_by_name_stays_as_it_was():
    body = RecordedBody("metaworld", "data", "data_cf", LAYOUT, ("a", "b"))
    assert (body.camera, body.column, body.rate, body.size) == ("first_person", "observation.state", None, None)
