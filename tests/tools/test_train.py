import runpy
import sys
from pathlib import Path

import pytest

from vgen.train.config import load_config

COMMAND = Path(__file__).parents[2] / "tools" / "train.py"


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["train.py", *map(str, arguments)])
    runpy.run_path(str(COMMAND), run_name="__main__")


def test_command_trains(recipe, monkeypatch, tmp_path, capsys):
    call(monkeypatch, recipe(), "steps=2")
    assert capsys.readouterr().out == f"done: {tmp_path / 'run'}\n"
    assert (tmp_path / "run" / "model" / "toy.pt").exists()


def test_wrong_key_is_one_line_and_status_two(recipe, monkeypatch, capsys):
    with pytest.raises(SystemExit) as ended:
        call(monkeypatch, recipe(), "stepz=2")
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: 'stepz' is not in the recipe; nearest: 'steps'\n"


def test_a_number_of_gpus_is_of_a_plan_alone(recipe, monkeypatch, capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        call(monkeypatch, recipe(), "--gpus", 8)
    assert ended.value.code == 2 and not (tmp_path / "run").exists()
    assert capsys.readouterr().err.startswith("error: --gpus 8 is what --dry-run plans for")


def test_every_recipe_can_be_read():
    recipes = list((COMMAND.parents[1] / "configs" / "train").glob("*codec*.yaml"))
    assert recipes
    for path in recipes:
        assert load_config(path).objective.name == "codec"
