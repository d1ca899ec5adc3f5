import json
from pathlib import Path

import pytest
import torch
from toy_objective import same, weights

from vgen.train import loop
from vgen.train.checkpoint.folder import checkpoints
from vgen.train.config import load_config
from vgen.train.loop import train
from vgen.train.objectives.base import training_mode


def records(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_run_leaves_model_log_record_and_checkpoints(run):
    folder = run(checkpoint_minutes=0, keep=2)
    assert [path.name for path in checkpoints(folder)] == ["step-00000005", "step-00000006"]
    assert not list(folder.glob("**/*.part"))
    record = json.loads((folder / "run.json").read_text())
    assert (record["steps"], record["samples"], record["ranks"]) == (6, 24, 1)
    log = records(folder)
    assert [entry["step"] for entry in log if entry["kind"] == "train"] == [2, 4, 6]
    assert {"loss", "loss/low", "lr", "grad_norm", "samples_per_s", "tokens_per_s", "wait_share", "memory_gb"} <= set(
        log[0]
    )
    assert "loss/none" not in log[0]  # a metric of no element says nothing
    assert (log[-1]["kind"], log[-1]["step"], log[-1]["rank"]) == ("validation", 6, 0.0)
    assert list((folder / "tensorboard").iterdir())


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("stage", [0, 2])
def test_resumed_run_repeats_an_unbroken_one(run, tmp_path, stage, optimizer):
    keys = {
        "checkpoint_minutes": 0,
        "accumulation": 2,
        "zero_stage": stage,
        "optimizer": {"name": optimizer, "lr": 0.01},
    }
    whole = run(run=str(tmp_path / "whole"), **keys)
    with pytest.raises(KeyboardInterrupt):
        run(run=str(tmp_path / "broken"), objective={"crash_at": 3}, **keys)
    assert [path.name for path in checkpoints(tmp_path / "broken")] == ["step-00000002", "step-00000003"]
    broken = run(run=str(tmp_path / "broken"), **keys)
    assert same(weights(whole), weights(broken))
    assert [entry["step"] for entry in records(broken)] == [entry["step"] for entry in records(whole)]
    assert records(broken)[-2]["loss"] == records(whole)[-2]["loss"]


def test_frozen_parts_stay_out_of_checkpoints(run, tmp_path):
    whole = run(run=str(tmp_path / "whole"), objective={"frozen": True})
    broken = run(run=str(tmp_path / "broken"), objective={"frozen": True, "stop_at": 3})
    state = torch.load(checkpoints(broken)[0] / "engine" / "mp_rank_00_model_states.pt", weights_only=False)
    assert "blocks.1.weight" in state["module"]
    assert "blocks.0.weight" not in state["module"]
    run(run=str(broken), objective={"frozen": True})
    assert same(weights(whole), weights(broken))


def test_frozen_parts_stay_in_evaluation_mode(recipe):
    objective = loop.objective_class("toy")(load_config(recipe(objective={"frozen": True})).objective, 0)
    objective.eval()
    training_mode(objective)
    assert [block.training for block in objective.blocks] == [False, True]
    assert objective.training


def test_sigterm_saves_and_ends(run):
    folder = run(objective={"stop_at": 3})
    assert [path.name for path in checkpoints(folder)] == ["step-00000004"]
    assert not (folder / "model").exists()
    run()
    assert checkpoints(folder)[-1].name == "step-00000006"


def test_interrupted_write_is_ignored_and_removed(run, tmp_path):
    part = tmp_path / "run" / "checkpoints" / "step-00000009.part"
    part.mkdir(parents=True)
    (part / "half").write_text("x")
    assert [path.name for path in checkpoints(run())] == ["step-00000006"]
    assert not part.exists()


@pytest.mark.parametrize("stage", [0, 1])
def test_step_with_a_loss_that_is_not_finite_is_skipped(run, tmp_path, stage):
    folder = run(zero_stage=stage, objective={"poison_at": 5})
    assert json.loads((folder / "run.json").read_text())["skipped_steps"] == 1
    before = run(run=str(tmp_path / "other"), zero_stage=stage, objective={"stop_at": 4})
    run(run=str(before), zero_stage=stage, objective={"poison_at": 5})
    assert same(weights(folder), weights(before))
    assert all(torch.isfinite(value).all() for value in weights(folder).values())


def test_time_ends_a_run_and_drives_the_schedule(run, monkeypatch):
    """Every look at the clock takes a second, so the minute is over long before the steps are."""
    clock = iter(range(10**6))
    monkeypatch.setattr(loop.time, "monotonic", lambda: float(next(clock)))
    folder = run(steps=10**6, max_minutes=1, schedule={"warmup_steps": 0, "floor": 0.0})
    rates = [entry["lr"] for entry in records(folder) if entry["kind"] == "train"]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.05 * rates[0]
    assert json.loads((folder / "run.json").read_text())["train_minutes"] == pytest.approx(1, abs=0.1)


def test_a_start_ends_after_its_wall_minutes_and_tells_of_each_model(recipe, monkeypatch):
    """As above; the next start has as much time anew, in which the run goes on."""
    clock, told = iter(range(10**6)), []
    monkeypatch.setattr(loop.time, "monotonic", lambda: float(next(clock)))
    path = recipe(steps=10**6, wall_minutes=1, checkpoint_minutes=0.2)
    ended = []
    for _ in range(2):
        folder = train(load_config(path), exported=lambda: told.append((folder_of(path) / "run.json").exists()))
        ended.append(json.loads((folder / "run.json").read_text())["train_minutes"])
    assert 0.8 < ended[0] < 1.1 and 1.6 < ended[1] < 2.2
    assert len(told) > 4 and all(told)


def folder_of(recipe):
    return Path(load_config(recipe).run)


def test_elapsed_time_survives_a_resume(run, recipe):
    folder = run(objective={"stop_at": 2})
    elapsed = json.loads((checkpoints(folder)[0] / "state.json").read_text())["progress"]["elapsed"]
    assert elapsed > 0
    run()
    assert json.loads((folder / "run.json").read_text())["train_minutes"] * 60 >= round(elapsed, 2) - 0.6


def test_averaged_weights_are_exported_and_trained_ones_go_on(recipe):
    config = load_config(recipe(optimizer={"lr": 0.1}))
    objective = loop.objective_class("toy")(config.objective, 0)
    trainer = loop.Trainer(config, objective, loop.start(1))
    trainer.run()
    exported = weights(trainer.folder)
    names = [name for name, _ in objective.named_parameters()]
    assert all(torch.equal(exported[n], s) for n, s in zip(names, trainer.average.model.shadow_params, strict=True))
    assert not same(exported, objective.state_dict())
