"""The whole benchmark on a tiny untrained model, and its rollouts."""

import itertools
import json
import runpy
import sys
from types import SimpleNamespace

import ego_bench
import pytest
import torch
from ego_bench_fakes import SIZE, case, group, model_folder, record
from ego_suite import latency
from ego_suite import tracker as tracking_network
from ego_suite.cases import START, truth_of
from ego_suite.roller import Roller

from vgen.ego.actions import TimedActions
from vgen.ego.pipeline import EgoPipeline
from vgen.ego.rollout import Rollout, RolloutSettings
from vgen.errors import InputError
from vgen.trajectory.statistics import Statistics


@pytest.fixture(scope="module")
def folder(tiny_model, tmp_path_factory):
    return model_folder(tiny_model, tmp_path_factory.mktemp("ego") / "model")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    record(folder)
    return folder


@pytest.fixture
def roller(folder):
    pipe = EgoPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return Roller(pipe, RolloutSettings(advance=4, window=2, steps=1))


def run_main(monkeypatch, folder, data, *more):
    options = ["--model", folder, "--metaworld", data / "data", "--metaworld-counterfactuals", data / "data_cf"]
    options += ["--bodies", "metaworld", "--cache", data / "cache", *more]
    monkeypatch.setattr(sys, "argv", ["ego_bench.py", *map(str, options)])
    monkeypatch.setattr(tracking_network, "FRAMES", 20)
    monkeypatch.setattr(tracking_network, "time", SimpleNamespace(monotonic=itertools.count(0, 60).__next__))
    ego_bench.main()


def test_a_rollout_starts_at_the_start_with_its_past_and_goes_as_far_as_its_case(roller):
    one, settings = case(reach=8, seed=3), roller.settings
    made = roller.roll([one])
    assert made.shape == (1, 3, 9, SIZE, SIZE) and torch.equal(made[:, :, 0], truth_of([one])[:, :, 0])
    statistics = Statistics.from_json(roller.pipe.ego.info.statistics_of("position4"))
    rows = torch.from_numpy(statistics.normalise(one.trajectory))[None]
    arrivals = (torch.arange(rows.shape[1]) - START)[None].double()
    actions = TimedActions(rows, arrivals, torch.ones(rows.shape[:2], dtype=torch.bool))
    past = actions.steps(slice(START + 1))
    frames, noise = one.video[None, :, : START + 1] / 127.5 - 1, torch.Generator().manual_seed(3)
    rollout = Rollout(roller.pipe, frames, ["slide"], "position4", settings, past, generator=noise)
    expected = [rollout.step(actions.steps(slice(START + 1 + now, START + 5 + now))) for now in (0, 4)]
    torch.testing.assert_close(made[:, :, 1:], torch.cat(expected, 2), atol=1e-4, rtol=1e-4)


def test_results_do_not_depend_on_the_batch_and_without_actions_trajectories_do_not_count(roller):
    members = group(reach=4)
    together, alone = roller.roll(members), torch.cat([roller.roll([member]) for member in members])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
    blind = roller.roll(members, blind=True)
    torch.testing.assert_close(blind, blind[:1].expand_as(blind), atol=1e-4, rtol=1e-4)
    assert (together - together[:1]).abs().max() > 2e-3 and (together - blind).abs().max() > 2e-3


def test_the_codec_rebuilds_every_frame_alone(roller):
    frames = truth_of([case(0.5, reach=8)])
    whole = roller.reconstruct(frames)
    assert whole.shape == frames.shape
    torch.testing.assert_close(whole[:, :, 5:6], roller.reconstruct(frames[:, :, 5:6]), atol=1e-4, rtol=1e-4)


def test_latency_is_measured_for_every_advance_that_the_model_allows(roller, monkeypatch):
    monkeypatch.setattr(latency, "HORIZONS", (8, 20))
    found = latency.measure(roller, case(reach=8))
    assert list(found["advances"]) == ["1", "4", "16"] and found["condition_attention"] == "joint"
    for entry in found["advances"].values():
        assert entry["first_frame_s"] > 0 and set(entry["fps"]) == set(entry["memory_gb"]) == {"8", "20"}
        assert entry["fps_ratio"] == pytest.approx(entry["fps"]["20"] / entry["fps"]["8"])
    roller.pipe.register_to_config(default_frames=5)
    assert list(latency.measure(roller, case(reach=8))["advances"]) == ["1", "4"]


def test_speed_is_that_of_the_steps_around_a_horizon():
    steps = [(1, 4, 2.0), (5, 8, 1.0), (9, 12, 0.5), (13, 16, 0.5)]
    assert latency.speed(steps, 8) == pytest.approx(8 / 3) and latency.speed(steps, 16) == pytest.approx(8)
    assert latency.speed([(1, 16, 4.0)], 8) == 4


def test_everything_is_measured_and_written(monkeypatch, tmp_path, folder, data, capsys):
    monkeypatch.setattr(latency, "HORIZONS", (8, 200))
    monkeypatch.setattr(latency, "play", lambda *_: (0.5, [(1, 8, 1.0), (193, 200, 2.0)], {8: 1.0, 200: 1.5}))
    out, sheets = tmp_path / "out.json", tmp_path / "sheets"
    options = ["--clips", 4, "--advance", 4, "--steps", 1, "--batch", 8]
    run_main(monkeypatch, folder, data, *options, "--out", out, "--contact-sheets", sheets)
    results = json.loads(out.read_text())
    body = results["bodies"]["metaworld"]
    assert {h: entry["n"] for h, entry in body["forward"].items()} == {
        "1": 3, "4": 3, "8": 3, "16": 2, "32": 1, "64": 1,
    }  # fmt: skip
    assert body["counterfactual"]["64"]["n"] == 4
    assert set(body["tracker"]) == {"forward", "counterfactual"}
    assert set(body["tracker"]["forward"]["horizons"]["16"]["methods"]) == {"model", "none", "copy", "codec", "truth"}
    assert body["policy"]["n"] == 8 and body["inverse"]["n"] == 4
    assert results["latency"]["advances"]["4"]["fps"] == {"8": 8, "200": 4}
    assert (results["settings"]["advance"], results["settings"]["steps"]) == (4, 1)
    assert len(list(sheets.glob("metaworld-forward-*.png"))) == 3
    assert len(list(sheets.glob("metaworld-futures-*.png"))) == 1
    printed = capsys.readouterr().out
    for words in (
        "PSNR of moving pixels",
        "own truth is the nearest",
        "policy: text right",
        "zero motion",
        "latency on",
    ):
        assert words in printed
    assert max(map(len, printed.replace(str(folder), folder.name).splitlines())) < 121


def test_sections_can_be_chosen(monkeypatch, tmp_path, folder, data):
    out = tmp_path / "out.json"
    run_main(monkeypatch, folder, data, "--sections", "counterfactual", "--clips", 1, "--steps", 1, "--out", out)
    results = json.loads(out.read_text())
    assert list(results["bodies"]["metaworld"]) == ["counterfactual"] and "latency" not in results
    assert results["settings"]["advance"] == 16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sections", "forwards"], "'forwards' is not in the sections; nearest: 'forward'"),
        (["--clips", 0], "--clips 0 must be 1 or more; nearest: 1"),
        (["--advance", 3, "--clips", 1], "advance=3 is neither 1 nor a multiple of 4; nearest: 4"),
        (["--bodies", "adroit", "--adroit", "nowhere"], "nowhere is not there; record it with"),
        (["--bodies", "adroit", "--adroit", "{}/data", "--adroit-counterfactuals", "{}/data_cf"], "knows: position4"),
        (["--splitt", "test"], "'--splitt' is not in the options of"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line(monkeypatch, folder, data, options, message):
    with pytest.raises(InputError, match=message):
        run_main(monkeypatch, folder, data, *(str(option).format(data) for option in options))


def test_a_model_trained_at_another_rate_is_refused(monkeypatch, roller, folder, data):
    roller.pipe.ego.register_to_config(rates={"position4": 10.0})
    monkeypatch.setattr(ego_bench.EgoPipeline, "from_pretrained", lambda _: roller.pipe)
    with pytest.raises(InputError, match=r"trained at 10 frames/s of position4; .* has 20"):
        run_main(monkeypatch, folder, data, "--clips", 1)


def test_the_command_ends_with_two_on_bad_input(monkeypatch, capsys, tmp_path):
    options = ["--metaworld", str(tmp_path / "nowhere"), "--bodies", "metaworld"]
    monkeypatch.setattr(sys, "argv", [ego_bench.__file__, *options])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(ego_bench.__file__, run_name="__main__")
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.count("\n") == 1 and "nowhere is not there" in said
