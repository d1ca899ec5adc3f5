import json
import sys

import ego_ablations
import pytest
from ego_ablations import choose_metrics, differences, flat, read_run, table

from vgen.errors import InputError


def make_run(folder, injection, steps=40, over=True, lines=None):
    folder.mkdir()
    records = [
        {"kind": "validation", "step": 20, "loss": 9.0, "loss_ego": 9.0},
        {"kind": "train", "step": steps, "loss": 5.0, "minutes": 3.25},
        {"kind": "validation", "step": steps, "loss": 0.5, "loss_ego": 0.25, "loss_ego_without_actions": 0.75, "x": 1},
    ]
    log = "".join(json.dumps(record) + "\n" for record in (records if lines is None else records[:lines]))
    (folder / "log.jsonl").write_text(log + '{"kind": "valid')  # a torn last line is no record
    config = {"run": str(folder), "objective": {"adapter": {"injection": injection}, "bodies": [{"layout": "pose7"}]}}
    if over:
        (folder / "run.json").write_text(json.dumps({"config": config, "steps": steps, "train_minutes": 3.5}))
    return folder


def test_a_line_for_each_run_and_what_differs(tmp_path, monkeypatch, capsys):
    one, other = make_run(tmp_path / "a", "film"), make_run(tmp_path / "b", "adaln")
    out = tmp_path / "out.json"
    monkeypatch.setattr(sys, "argv", ["ego_ablations.py", f"first={one}", str(other), "--out", str(out)])
    ego_ablations.main()
    head, _, first, second = capsys.readouterr().out.splitlines()
    assert head == "| run | steps | minutes | loss | loss_ego | loss_ego_without_actions | differs in |"
    assert first == "| first | 40 | 3.5 | 0.5000 | 0.2500 | 0.7500 | objective.adapter.injection=film |"
    assert second.startswith("| b | 40 |") and second.endswith("=adaln |")
    rows = json.loads(out.read_text())["runs"]
    assert rows[1]["metrics"]["loss_ego"] == 0.25 and rows[1]["differs"] == {"objective.adapter.injection": "adaln"}


def test_runs_of_other_lengths_and_runs_that_are_not_over_are_named(tmp_path):
    runs = [read_run(str(make_run(tmp_path / "a", "film"))), read_run(str(make_run(tmp_path / "b", "film", 50, False)))]
    assert differences(runs) == [{}, {}]
    lines = table(runs, choose_metrics(runs, None)).splitlines()
    assert lines[3] == "| b | 50 | 3.2 | 0.5000 | 0.2500 | 0.7500 | not over |"
    assert lines[-1].startswith("Not at equal steps (40 to 50)")


def test_a_run_that_goes_on_is_told_by_its_last_validation_and_not_by_an_earlier_export(tmp_path):
    """Every export writes run.json, so that it may be of an earlier step than the figures are."""
    folder = make_run(tmp_path / "a", "film", steps=40)
    with (folder / "log.jsonl").open("a") as log:
        log.write('\nnull\n{"kind": "train"}\n{"kind": "validation", "step": 70, "loss": 0.25}\n')
    run = read_run(str(folder))
    assert (run.steps, run.metrics["loss"], run.minutes, run.config) == (70, 0.25, 3.25, None)
    (folder / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run\.json is damaged"):
        read_run(str(folder))


def test_only_the_metrics_that_are_asked_for_are_shown(tmp_path):
    runs = [read_run(str(make_run(tmp_path / "a", "film")))]
    wanted = choose_metrics(runs, "loss_ego_without_actions,loss")
    assert table(runs, wanted).splitlines()[2].startswith("| a | 40 | 3.5 | 0.7500 | 0.5000 |")
    with pytest.raises(InputError, match=r"loss_egg.*loss_ego"):
        choose_metrics(runs, "loss_egg")


def test_a_key_that_one_run_lacks_is_a_difference(tmp_path):
    runs = [read_run(str(make_run(tmp_path / name, injection))) for name, injection in (("a", {"new": 1}), ("b", "x"))]
    assert differences(runs)[0] == {"objective.adapter.injection.new": 1, "objective.adapter.injection": "-"}
    assert flat({"a": [{"b": 1}, {"b": 2}], "c": [1, 2], "d": {}}) == {"a.0.b": 1, "a.1.b": 2, "c": [1, 2], "d": {}}


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="nowhere is no run folder"):
        read_run("x=nowhere")
    with pytest.raises(InputError, match="has no validation"):
        read_run(str(make_run(tmp_path / "a", "film", lines=0)))
