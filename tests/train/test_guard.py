import gc
import json
import weakref
from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import load_file
from toy_objective import ToyBatch, ToyConfig, ToyObjective, same, weights

from vgen.ego.actions import TimedActions
from vgen.errors import RunStopped
from vgen.train.batch import Batch
from vgen.train.guard import ENOUGH, is_spike, not_finite, save_bad_batch


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
        assert torch.equal(load_file(folder / f"part-00{part}.safetensors")["x"], expected.x)
        about = json.loads((folder / f"part-00{part}.json").read_text())
        assert (about["step"], about["part"], about["batch"]) == (7, part, {"step": 6, "x": {"tensor": "x"}})
    # fewer go by
    record = json.loads((run(**keys, objective={"poison_at": 4, "poison_steps": 2}) / "run.json").read_text())
    assert record["skipped_steps"] == 2


@pytest.mark.parametrize("error", [ValueError("a damaged\nclip"), OSError(5, "no such disk"), KeyError("camera")])
def test_a_batch_that_cannot_be_made_again_hides_nothing(run, monkeypatch, tmp_path, error):
    plain, made = ToyObjective.batch, []

    def once(self, step, part, parts, progress):
        if (step, part) in made:
            raise error
        made.append((step, part))
        return plain(self, step, part, parts, progress)

    monkeypatch.setattr(ToyObjective, "batch", once)
    with pytest.raises(
        RunStopped, match=r"2 steps in a row .*not all of its batch is kept \(it cannot be made again: .*goes on"
    ):
        run(max_skipped=1, objective={"poison_at": 0, "poison_steps": 9})
    assert not list((tmp_path / "run" / "bad_batch").iterdir())


def test_a_disk_that_refuses_a_bad_batch_hides_nothing(run, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "bad_batch").touch()
    with pytest.raises(
        RunStopped, match=r"2 steps in a row .*not all of its batch is kept \(.*a file stands where a folder .*goes on"
    ) as end:
        run(max_skipped=1, objective={"poison_at": 0, "poison_steps": 9})
    assert type(end.value) is RunStopped, "not TryAgain: started again, it would stop again"


def test_a_loss_that_is_not_finite_names_its_clips(run, monkeypatch, caplog):
    @dataclass(frozen=True)
    class Named(ToyBatch):
        clips: tuple[str, ...] = tuple(f"clip {number}" for number in range(4))

    plain = ToyObjective.batch
    monkeypatch.setattr(ToyObjective, "batch", lambda self, *place: Named(**vars(plain(self, *place))))

    def broken(self, x, noise):
        loss = (self.head(self.blocks[1](self.blocks[0](x))) - noise).square().mean(1)
        return loss * torch.tensor([1.0, float("nan"), 1.0, float("inf")])[: len(x)]

    monkeypatch.setattr(ToyObjective, "error", broken)
    with pytest.raises(RunStopped, match=r"loss is not finite of clip 1, clip 3\)"):
        run(max_skipped=1)
    assert "step 1 skipped: its gradient's norm is nan; the loss is not finite of clip 1, clip 3" in caplog.text


@pytest.mark.parametrize("poison_at", [-100, 0])
def test_no_batch_of_a_step_outlives_its_gradient(run, monkeypatch, poison_at):
    alive, most = weakref.WeakSet(), []
    plain = ToyObjective.forward

    def forward(self, batch):
        alive.add(batch)
        gc.collect()
        most.append(len(alive))
        return plain(self, batch)

    monkeypatch.setattr(ToyBatch, "__hash__", object.__hash__)
    monkeypatch.setattr(ToyBatch, "__eq__", object.__eq__)
    monkeypatch.setattr(ToyObjective, "forward", forward)
    run(steps=2, accumulation=6, objective={"poison_at": poison_at})
    assert len(most) == 12 and set(most) == {1}


@dataclass(frozen=True)
class Clips(Batch):
    clips: list[str]
    latent: torch.Tensor | None = None
    text: list[str] | None = None


@dataclass(frozen=True)
class Pair(Batch):
    canvas: Clips
    ego: Clips
    step: int = 3


def test_clips_of_nested_batches_are_told_apart():
    batch = Pair(Clips(["a", "b"]), Clips(["c"]))
    assert batch.names() == ["a", "b", "c"]
    assert not_finite(batch.names(), torch.tensor([0.0, 1.0, float("nan")])) == ["c"]
    assert not_finite(batch.names(), torch.tensor(float("inf"))) == ["a", "b", "c"]
    assert not_finite(ToyBatch(torch.ones(1), 0).names(), torch.tensor([float("nan")])) == []


def test_a_batch_goes_to_a_device_with_all_that_it_holds():
    actions = TimedActions(torch.zeros(1, 2, 3), torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool))
    batch = Pair(Clips(["a"], torch.ones(2)), Clips(["b"], actions, ["push"])).to("meta")
    assert batch.canvas.latent.is_meta and batch.ego.latent.arrivals.is_meta and batch.ego.latent.valid.is_meta
    assert (batch.ego.text, batch.names(), batch.step) == (["push"], ["a", "b"], 3)


def test_a_nested_batch_is_saved_whole(tmp_path):
    shared = torch.arange(6.0).view(2, 3)
    actions = TimedActions(torch.rand(1, 2, 3), torch.rand(1, 2), torch.ones(1, 2, dtype=torch.bool))
    batch = Pair(Clips(["a"], shared, ["", "word"]), Clips(["b"], actions))
    save_bad_batch(tmp_path, [(3, batch)], {"step": 7})
    tensors = load_file(tmp_path / "part-003.safetensors")
    about = json.loads((tmp_path / "part-003.json").read_text())

    def restored(value):
        if not isinstance(value, dict):
            return value
        return tensors[value["tensor"]] if value.keys() == {"tensor"} else {k: restored(v) for k, v in value.items()}

    back = restored(about["batch"])
    assert back["canvas"]["text"] == ["", "word"] and back["ego"]["clips"] == ["b"] and back["step"] == 3
    assert torch.equal(back["canvas"]["latent"], shared) and back["ego"]["text"] is None
    assert all(torch.equal(back["ego"]["latent"][name], value) for name, value in vars(actions).items())
    assert set(tensors) == {"canvas/latent", *(f"ego/latent/{name}" for name in vars(actions))}
