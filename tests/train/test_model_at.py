"""The model of a run at any step that it has kept."""

import json

import pytest
import torch
from toy_objective import same

from vgen.errors import InputError
from vgen.train.checkpoint.folder import checkpoints
from vgen.train.model_at import model_at


def weights(folder):
    return torch.load(folder / "toy.pt")


KINDS = [
    {"zero_stage": 0},
    {"zero_stage": 1, "ema_decay": 0},
    {"zero_stage": 3},
    {"zero_stage": 3, "ema_decay": 0},
    {"objective": {"frozen": True}},
]


@pytest.mark.parametrize("keys", KINDS, ids=str)
def test_a_model_made_from_a_checkpoint_is_the_one_that_the_run_exports(run, tmp_path, keys):
    folder = run(checkpoint_minutes=0, keep=9, keep_exports=2, **keys)
    assert sorted(path.name for path in (folder / "exports").iterdir()) == [f"step-0000000{n}" for n in (2, 4, 6)]
    assert same(weights(folder / "exports" / "step-00000006"), weights(folder / "model"))
    kept = {step: folder / "exports" / f"step-0000000{step}" for step in (2, 4)}
    assert not same(weights(kept[2]), weights(kept[4]))
    for step, export in kept.items():
        with model_at(folder, step, tmp_path / "out") as found:
            assert found.folder == export
            assert found.record["steps"] == step
        before = {name: value.clone() for name, value in weights(export).items()}
        export.rename(tmp_path / f"away{step}")
        with model_at(folder, step, tmp_path / "out") as made:
            assert same(weights(made.folder), before)
            assert made.record.keys() == found.record.keys()
            assert made.record["device"] == found.record["device"]
            assert made.record["steps"] == step
        assert not list(tmp_path.glob(".out*"))


def test_the_newest_is_the_models_or_a_later_checkpoints(run, tmp_path):
    folder = run(objective={"stop_at": 2})
    assert not (folder / "model").exists()
    with model_at(folder, None, tmp_path / "out") as made:
        assert made.record["steps"] == 3
    run()
    with model_at(folder, None, tmp_path / "out") as found:
        assert (found.folder, found.record["steps"]) == (folder / "model", 6)
    run(steps=20, objective={"stop_at": 8})
    with model_at(folder, None, tmp_path / "out") as made:
        assert made.record["steps"] == 9
        assert not same(weights(made.folder), weights(folder / "model"))
    for path in checkpoints(folder):
        (path / "more").write_text("x")
    with model_at(folder, None, tmp_path / "out") as found:
        assert found.folder == folder / "model"
    with pytest.raises(InputError, match=r"step-00000009 is damaged: more is there"), model_at(folder, 9, tmp_path):
        pass
    told = r"step=8 is no step that .* has kept; nearest: 9, all: \[6, 9\]"
    with pytest.raises(InputError, match=told), model_at(folder, 8, tmp_path):
        pass


def test_a_folder_without_anything_is_refused(tmp_path):
    for step in (None, 3):
        with pytest.raises(InputError), model_at(tmp_path, step, tmp_path / "out"):
            pass


def test_an_export_that_was_due_when_the_run_was_stopped_is_made_when_it_goes_on(run):
    folder = run(objective={"stop_at": 3}, keep_exports=4)
    run(keep_exports=4)
    assert [path.name for path in (folder / "exports").iterdir()] == ["step-00000004"]
    record = json.loads((folder / "exports" / "step-00000004" / "run.json").read_text())
    assert record["steps"] == 4


def test_keep_exports_may_change_and_is_not_negative(run):
    run(objective={"stop_at": 3})
    with pytest.raises(InputError, match="keep_exports=-1 must lie in 0 to "):
        run(keep_exports=-1)
    run(keep_exports=5)
