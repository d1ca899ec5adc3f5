import json
import sys

import given_bench
import numpy as np
import pytest
import torch
from bench_sets.bench import Bench
from tiny_wan import save_tiny_wan

from vgen.canvas.pipeline import CanvasPipeline
from vgen.canvas.placed import place
from vgen.canvas.spec import Canvas, Patch
from vgen.errors import InputError
from vgen.files import file_sha256
from vgen.media.writing import write_video


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_wan(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """One clip of nine frames, with an image of it and with a hole in it."""
    folder = tmp_path_factory.mktemp("bench")
    video = np.random.default_rng(0).integers(0, 255, (9, 32, 32, 3), dtype=np.uint8)
    write_video(folder / "clip.mp4", video, 15.0)
    mask = np.full((32, 32), 255, np.uint8)
    mask[8:24, 8:24] = 0
    write_video(folder / "mask.mp4", np.repeat(mask[None, ..., None], 9, axis=0).repeat(3, axis=-1), 15.0)
    canvas = {"frames": 9, "size": "32x32", "fps": 15.0, "prompt": "noise", "seed": 3}
    image = [{"source": "clip.mp4", "range": "0-0", "frame": 0}]
    hole = [{"source": "clip.mp4", "mask": "mask.mp4"}]
    cases = [
        {"name": "anyi2v/0-0", "group": "AnyI2V", "kind": "first", "canvas": canvas | {"patches": image}},
        {"name": "anyv2v/0", "group": "AnyV2V", "kind": "inpainting", "canvas": canvas | {"patches": hole}},
        {"name": "anyi2v/1+2", "group": "AnyI2V", "kind": "unrelated-first", "canvas": canvas | {"patches": image}},
    ]
    for case, truth in zip(cases, ("clip.mp4", "clip.mp4", None), strict=True):
        case["truth"] = truth
    files = {name: file_sha256(folder / name) for name in ("clip.mp4", "mask.mp4")}
    settings = {"frames": 9, "size": "32x32", "fps": 15}
    manifest = {"format": "vgen canvas bench", "version": 1, "settings": settings, "cases": cases, "files": files}
    (folder / "bench.json").write_text(json.dumps(manifest))
    return folder


def call(monkeypatch, *options):
    monkeypatch.setattr(sys, "argv", ["given_bench.py", *map(str, options)])
    given_bench.main()


def test_all_questions_are_answered(bench, model, tmp_path, monkeypatch, capsys):
    call(monkeypatch, "--bench", bench, "--model", model, "--steps", 1, "--out", tmp_path / "given.json")
    results = json.loads((tmp_path / "given.json").read_text())
    answers = results["answers"]
    assert list(answers["number"]) == ["1 frame", "2 frames", "3 frames", "5 frames", "9 frames"]
    assert list(answers["form"]) == ["5 frames, images", "5 frames, a clip"]
    assert list(answers["strength"]) == [f"strength {s}" for s in ("1", "0.9", "0.75", "0.5", "0.25")]
    frame = (32 // 8 // 2) ** 2  # tokens of a latent frame
    tokens = {answer: values["tokens"] for question in answers.values() for answer, values in question.items()}
    assert tokens["3 frames"] == 3 * frame
    assert tokens["5 frames, images"] == 5 * frame and tokens["5 frames, a clip"] == 2 * frame
    assert answers["number"]["9 frames"]["new"] is None, "nothing is left to make"
    assert answers["keep"]["keep=exact"]["given"] > answers["keep"]["keep=model"]["given"] + 10
    assert answers["number"]["2 frames"] | {"seconds": 0} == answers["strength"]["strength 1"] | {"seconds": 0}
    assert "strength 0.25" in capsys.readouterr().out
    assert results["settings"]["clips"] == 1


def test_tokens_are_those_that_the_model_reads(bench, model):
    frame = (32 // 8 // 2) ** 2
    pipe = CanvasPipeline.from_pretrained(model)
    video = np.full((9, 32, 32, 3), 128, np.uint8)
    patches = (Patch(video[0].copy(), 0.0, box=(0, 0, 0.5, 0.5)), Patch(video[:5].copy(), 4.0, mode="clip"))
    placed = place(Canvas(9, 32, 32, patches=patches), pipe.temporal_stride, pipe.size_multiple)
    counts = {}
    for paradigm in ("in_context", "latent_conditioning", "latent_replacement"):
        pipe.transformer.register_to_config(paradigm=paradigm)
        counts[paradigm] = given_bench.condition_tokens(pipe, placed)
    assert counts == {"in_context": 3 * frame, "latent_conditioning": 3 * frame, "latent_replacement": 0}
    pipe.transformer.register_to_config(paradigm="in_context", prune_conditions=True)
    assert given_bench.condition_tokens(pipe, placed) == 1 + 2 * frame


def test_a_way_without_strengths_is_asked_the_rest(bench, model, tmp_path, monkeypatch, capsys):
    pipe = CanvasPipeline.from_pretrained(model)
    pipe.transformer.register_to_config(paradigm="latent_replacement")
    pipe.save_pretrained(tmp_path / "slots")
    asked = ["--questions", "strength", "--clips", 1, "--steps", 1]
    call(monkeypatch, "--bench", bench, "--model", tmp_path / "slots", *asked)
    told = capsys.readouterr().out
    assert "strength 1 " in told and "strength 0.9" not in told and "without strengths below 1" in told


def test_what_is_measured_is_what_was_not_given(bench):
    (case,) = given_bench.clips_of(Bench.read(bench), 5)
    assert case.kind == "inpainting"
    video = np.full((9, 32, 32, 3), 128, np.uint8)
    placed = place(Canvas(9, 32, 32, patches=(Patch(video[0].copy(), 4.0, box=(0, 0, 0.5, 1)),)), 4, 16)
    new = given_bench.hidden(placed, (1, 3, 9, 32, 32))
    assert (~new).sum() == 3 * 32 * 16 and not new[0, :, 4, :, :16].any()
    made, true = torch.zeros(1, 3, 9, 32, 32), torch.zeros(1, 3, 9, 32, 32)
    made[0, :, 4, :, :16] = 0.2
    assert given_bench.decibels(made, true, new) == 100
    assert given_bench.decibels(made, true, ~new) == pytest.approx(20)  # 0.2 of a range of 2
    assert np.isnan(given_bench.decibels(made, true, torch.zeros_like(new)))


def test_frames_are_spread_from_the_first_to_the_last(bench):
    (case,) = given_bench.clips_of(Bench.read(bench), 1)
    asks = given_bench.asked(case, [1, 3, 9], [], 0)
    places = {ask.answer: [patch.frame for patch in ask.canvas.patches] for ask in asks if ask.question == "number"}
    assert places == {"1 frame": [0], "3 frames": [0, 4, 8], "9 frames": list(range(9))}
    assert given_bench.default_counts(77) == [1, 2, 3, 5, 9, 17, 33, 65, 77]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--counts", "0"], "--counts 0: each must be a whole number of 1 or more"),
        (["--counts", "two"], "--counts two: each must be"),
        (["--counts", "10"], "--counts 10 must be at most the 9 frames"),
        (["--strengths", "nan"], "--strengths nan: each must be above 0 and at most 1"),
        (["--strengths", "1.5"], "--strengths 1.5: each must be above 0 and at most 1"),
        (["--questions", "forms"], r"--questions=forms must be one of .*; did you mean form\?"),
    ],
)
def test_what_cannot_be_asked_is_one_line(bench, model, monkeypatch, options, said):
    with pytest.raises(InputError, match=said):
        call(monkeypatch, "--bench", bench, "--model", model, *options)
