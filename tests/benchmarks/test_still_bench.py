import json
import sys

import numpy as np
import pytest
import still_bench
import torch
from PIL import Image

from vgen.canvas.pipeline import CanvasPipeline
from vgen.errors import InputError
from vgen.media.pixels import to_unit
from vgen.simulators.pictures.photographs import HELD_OUT

STILL = "a photo, nothing moves"


@pytest.fixture
def photographs(tmp_path):
    """Two pictures that are kept for testing alone, and three that are not."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number, name in enumerate([*sorted(HELD_OUT)[:2], "one", "two", "three"]):
        Image.fromarray(np.full((40, 50, 3), 40 * number, np.uint8)).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def model(tiny_model, tmp_path):
    """`tiny_model` with a default prompt."""
    pipe = CanvasPipeline.from_pretrained(tiny_model)
    pipe.register_to_config(default_prompt=STILL, default_steps=1, default_guidance=1.0)
    pipe.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def run_main(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["still_bench.py", *map(str, arguments)])
    still_bench.main()


def test_the_models_own_prompt_and_none_on_pictures_kept_for_testing(monkeypatch, tmp_path, model, photographs, capsys):
    options = ["--model", model, "--pictures", photographs, "--frames", 5, "--size", 32]
    run_main(monkeypatch, *options, "--out", tmp_path / "out.json")
    results = json.loads((tmp_path / "out.json").read_text())
    assert results["names"] == sorted(HELD_OUT)[:2] and results["frames"] == [0, 2, 4]
    assert list(results["prompts"]) == [f'"{STILL}"', '"", nothing is said']
    assert all(np.shape(values) == (3, 2) for values in results["prompts"].values())
    own, none = results["prompts"].values()
    assert own != none
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].split() == ["frame", "0", "frame", "2", "frame", "4", "least"]
    assert [line.split()[-1] for line in lines[5:]] == [f"{min(each[-1]):.1f}" for each in (own, none)]


def test_each_prompt_is_read_as_it_is_and_has_its_own_line(monkeypatch, model, photographs, capsys):
    options = ["--model", model, "--pictures", photographs, "--frames", 5, "--size", 32]
    prompts = [word for each in ("ein Hund", "a rocket starts", "ein Hund") for word in ("--prompt", each)]
    run_main(monkeypatch, *options, *prompts)
    rows = capsys.readouterr().out.splitlines()[5:]
    assert [line.partition('" ')[0] for line in rows] == ['"ein Hund', '"a rocket starts'] and rows[0] != rows[1]


def test_prompts_are_chosen_on_other_pictures(photographs):
    assert list(still_bench.chosen([photographs], 2)) == ["one", "two"]
    assert len(still_bench.chosen([photographs], 99)) == 3
    assert len(still_bench.chosen([photographs], None)) == 2


def test_closeness_is_that_of_each_frame_to_its_picture():
    stills = to_unit(torch.full((2, 3, 1, 4, 4), 100, dtype=torch.uint8))
    videos = stills.repeat(1, 1, 3, 1, 1)
    videos[1, :, 2] += 2 * 10 / 255  # ten levels of 255
    [first, last] = still_bench.closeness(videos, stills, [0, 2])
    assert first == [last[0]] * 2 and last[1] == pytest.approx(20 * np.log10(255 / 10), abs=1e-3)


def test_what_cannot_be_is_refused(monkeypatch, tmp_path, model, photographs):
    for options, message in (
        (["--frames", 6, "--size", 32], "frames=6 is not 1 \\+ 4k"),
        (["--frames", 5, "--size", 30], "nearest"),
        (["--training", 0], "--training 0 must be 1 or more"),
    ):
        with pytest.raises(InputError, match=message):
            run_main(monkeypatch, "--model", model, "--pictures", photographs, *options)
    with pytest.raises(InputError, match="is no folder"):
        run_main(monkeypatch, "--model", model, "--pictures", tmp_path / "none")
