import json

import pytest
import torch
from bench_common.report import write_json
from canvas_bench_fakes import SIZE, BarSampler, BlendSampler, bar_clips
from canvas_suite.evaluation import ClipBatch, evaluate
from canvas_suite.report import table
from canvas_suite.scores import TaskScores
from canvas_suite.sheets import ContactSheets
from canvas_suite.tasks import TASKS, ClipShape
from PIL import Image

from vgen.metrics import PSNR_CAP, psnr

SHAPE = ClipShape(length=17, height=16, width=SIZE, stride=4)


def batch(first=0, count=2):
    keys = [(first + k, 5) for k in range(count)]
    return ClipBatch(bar_clips(count, 17), ["a bar"] * count, keys, list(range(count)))


def nobody(*_):
    pass


def test_a_perfect_model_beats_every_baseline_and_a_bad_one_none():
    good = evaluate(BarSampler(), [batch()], SHAPE, 0, nobody).tasks["image to video"].means()
    assert good["model"]["psnr"] > 60 > good["copy"]["psnr"]
    assert good["model"]["psnr_given"] > 60
    bad = evaluate(BlendSampler(), [batch()], SHAPE, 0, nobody)
    for scores in bad.tasks.values():
        means = scores.means()
        assert means["model"]["psnr"] < means["blend"]["psnr"]
        assert means["model"]["psnr_given"] == pytest.approx(26.02, abs=0.01)
        assert means["codec_video"]["psnr_given"] == means["codec_image"]["psnr_given"] == PSNR_CAP
    assert bad.codec.means()["video"]["psnr"] == PSNR_CAP


def test_scores_do_not_depend_on_how_clips_are_batched():
    together = evaluate(BlendSampler(), [batch(0, 3)], SHAPE, 0, nobody)
    apart = evaluate(BlendSampler(), [batch(0, 1), batch(1, 1), batch(2, 1)], SHAPE, 0, nobody)
    for task in TASKS:
        one, other = (run.tasks[task].per_clip()["model"] for run in (together, apart))
        assert len(one["psnr"]) == 3
        for metric, values in one.items():
            assert values == pytest.approx(other[metric])


def test_fidelity_looks_at_the_given_pixels_alone():
    shown = {}
    evaluate(
        BlendSampler(), [batch()], SHAPE, 0, lambda task, clips, given, videos: shown.update({task: (given, videos)})
    )
    given, videos = shown["one patch"]
    truth = bar_clips(2, 17)
    spoiled = torch.where(given.region(17) > 0, truth, 1.0)
    scores = TaskScores()
    scores.fidelity("model", spoiled, truth, given)
    assert scores.means()["model"]["psnr_given"] == PSNR_CAP
    assert psnr(spoiled, truth).max() < 20
    assert videos["model"].shape == truth.shape


def results(sampler):
    evaluation = evaluate(sampler, [batch()], SHAPE, 0, nobody)
    alignment = {"exact": 0.5, "exact_by_remainder": [1.0, 0.5, 0.25, 0.25], "mean_distance": 0.6}
    slope = {"slope": 0.9}
    return {
        "title": "two clips of a bar",
        "codec": {"means": evaluation.codec.means()},
        "tasks": {task: {"means": scores.means()} for task, scores in evaluation.tasks.items()},
        "alignment": {
            "clips": 2,
            "peak": {"model": alignment, "codec": alignment},
            "slope": {"model": slope, "codec": slope, "truth": slope},
        },
    }


def test_the_table_marks_where_the_model_wins():
    won, lost = table(results(BarSampler())), table(results(BlendSampler()))
    assert next(line for line in won.splitlines() if line.startswith("image to video")).count("*") == 1
    assert [line[0] for line in lost.splitlines() if "*" in line] == ["*"]
    assert "slope of the curve's centroid against that frame: 0.90" in won
    assert max(map(len, won.splitlines())) < 121


def test_json_holds_null_where_a_metric_is_not_defined(tmp_path):
    write_json({"a": [float("nan"), 1.23456789], "b": {"c": (1, "x")}}, tmp_path / "new" / "out.json")
    assert json.loads((tmp_path / "new" / "out.json").read_text()) == {"a": [None, 1.23457], "b": {"c": [1, "x"]}}


def test_contact_sheets_show_the_first_clips_in_every_task(tmp_path):
    sheets = ContactSheets(tmp_path / "sheets", clips=3)
    evaluate(BarSampler(), [batch(0), batch(2)], SHAPE, 0, sheets)
    files = sorted(path.name for path in (tmp_path / "sheets").iterdir())
    assert len(files) == 3 * len(TASKS) and "0-first-middle-last.png" in files
    with Image.open(tmp_path / "sheets" / "0-image-to-video.png") as sheet:
        assert sheet.width == 17 * (SIZE + 2)
        row = sheet.crop((0, 14 + 14, sheet.width, 14 + 14 + 16)).convert("L")
        brightest = torch.tensor(list(row.tobytes())).view(16, -1)[0, :SIZE].argmax().item()
    assert brightest == 16
