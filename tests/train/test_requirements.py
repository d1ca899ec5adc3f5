"""What a recipe needs that is not there is told with the recipe that makes it."""

from pathlib import Path

import pytest

from vgen.commands import train as command
from vgen.errors import InputError
from vgen.train.config import load_config
from vgen.train.requirements import check_data, check_results, recipe_of

RECIPES = Path(__file__).parents[2] / "configs" / "train"
CHAIN = {
    "nano_canvas": ("codec", "nano_codec"),
    "nano_canvas_muon": ("pretrained", "nano_canvas"),
    "nano_canvas_long": ("pretrained", "nano_canvas_muon"),
    "nano_ego": ("pretrained", "nano_canvas_long"),
    "nano_ego_long": ("pretrained", "nano_ego_finish"),
    "nano_state": ("codec", "nano_codec"),
}


@pytest.mark.parametrize("name", CHAIN)
def test_the_recipe_is_named_that_makes_what_is_missing(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    key, maker = CHAIN[name]
    path = RECIPES / f"{name}.yaml"
    with pytest.raises(InputError, match=rf"^objective\.{key}=runs/.* is not there; train \S*/{maker}\.yaml first"):
        check_results(load_config(path), path)


def test_the_command_refuses_before_it_loads_anything(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for more in ([], ["--dry-run"]):
        with pytest.raises(InputError, match=r"train configs/train/nano_canvas_long\.yaml first"):
            command.main(["configs/train/nano_ego.yaml", *more])


def test_what_no_recipe_makes_is_told_with_what_the_recipe_needs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = RECIPES / "nano_ego_finish.yaml"
    with pytest.raises(InputError, match=r"runs/nano_blend is not there; nano_ego_finish\.yaml needs .*vgen blend"):
        check_results(load_config(path), path)
    path = RECIPES / "nano_ego.yaml"
    with pytest.raises(InputError) as caught:
        check_data(load_config(path, ["objective.data.dataset=."]), path)
    line = str(caught.value)
    assert line.startswith("objective.bodies[0].data.dataset=data/metaworld is not there; nano_ego.yaml needs data of")
    assert "`vgen record metaworld`" in line and "Costs" not in line and "\n" not in line


def test_what_is_there_is_enough(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("runs/nano_codec/model/vae", "data/metaworld"):
        (tmp_path / folder).mkdir(parents=True)
    path = RECIPES / "nano_canvas.yaml"
    check_results(load_config(path), path)
    check_data(load_config(path), path)
    assert recipe_of("runs/mine/model", RECIPES) is None
    (tmp_path / "mine.yaml").write_text("run: runs/mine\n")
    (tmp_path / "other.yaml").write_text("[")
    assert recipe_of("runs/mine/model", tmp_path) == tmp_path / "mine.yaml"
