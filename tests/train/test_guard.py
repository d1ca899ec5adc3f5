import json

import pytest
import torch
from safetensors.torch import load_file
from toy_objective import ToyConfig, ToyObjective, same, weights

from vgen.errors import RunStopped
from vgen.train.guard import ENOUGH, is_spike


def test_a_spike_is_many_medians_and_needs_some_history():
    norms = [1.0, 2.0, 3.0] * 10
    assert is_spike(20.1, norms, 10)
    assert not is_spike(20.0, norms, 10)
    assert not is_spike(1e9, norms[: ENOUGH - 1], 10)
    assert not is_spike(1e9, norms, 0)


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_a_step_with_a_spike_changes_nothing(run, tmp_path, stage):
    keys = {"steps": 24, "zero_stage": stage, "log_every": 1, "schedule": {"warmup_steps": 0}}
    quiet = run(run=str(tmp_path / "quiet"), **keys, objective={"stop_at": 21})
    spiked = run(run=str(tmp_path / "spiked"), **keys, objective={"poison_at": 22, "poison": "1e4"})
    record = json.loads((spiked / "run.json").read_text())
    assert (record["steps"], record["skipped_steps"]) == (24, 1)
    # the other way to the same weights: a gradient that is not finite, which no stage applies
    run(run=str(quiet), **keys, objective={"poison_at": 22})
    assert same(weights(quiet), weights(spiked))
    log = [json.loads(line) for line in (spiked / "log.jsonl").read_text().splitlines()]
    assert "loss" not in log[22]  # of the skipped step
    assert log[23]["loss"] < 100
    free = run(run=str(tmp_path / "free"), **keys, spike_factor=0, objective={"poison_at": 22, "poison": "1e4"})
    assert not same(weights(free), weights(spiked))


def test_a_run_of_skipped_steps_stops_and_leaves_its_batch(run, tmp_path):
    keys = {"steps": 9, "accumulation": 2, "max_skipped": 2}
    with pytest.raises(RunStopped, match=r"3 steps in a row .*step 7, .*nan.*max_skipped=2.*bad_batch") as caught:
        run(**keys, objective={"poison_at": 4, "poison_steps": 5})
    assert "\n" not in str(caught.value)
    folder = tmp_path / "run" / "bad_batch"
    assert sorted(path.name for path in folder.iterdir()) == [
        f"part-00{part}.{kind}" for part in (0, 1) for kind in ("json", "safetensors")
    ]
    for part in (0, 1):
        expected = ToyObjective(ToyConfig(), 0).batch(6, part, 2, 0.0)
        assert torch.equal(load_file(folder / f"part-00{part}.safetensors")["x"], expected["x"])
        about = json.loads((folder / f"part-00{part}.json").read_text())
        assert (about["step"], about["part"], about["batch"]) == (7, part, {"step": 6})
    # fewer go by
    record = json.loads((run(**keys, objective={"poison_at": 4, "poison_steps": 2}) / "run.json").read_text())
    assert record["skipped_steps"] == 2
