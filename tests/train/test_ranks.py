import json
import os
from pathlib import Path

import pytest
import torch
from launched import run_ranks
from toy_objective import ToyConfig, ToyObjective, reseal, weights

from vgen.errors import InputError
from vgen.train.config import load_config
from vgen.train.distributed import gpu_of, start
from vgen.train.loop import _mix, train

HELPERS = Path(__file__).parents[1] / "helpers"
STEPS, LR, DECAY = 20, 0.01, 0.9


def losses(run):
    entries = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return torch.tensor([entry["loss"] for entry in entries if entry["kind"] == "train"], dtype=torch.float64)


def distance(first, second):
    return max((first[name] - second[name]).abs().max().item() for name in first)


def plain_loop():
    """What two ranks do, in plain PyTorch: the losses, and the averaged weights."""
    toy = ToyObjective(ToyConfig(), 0)
    groups = [{"params": [p for p in toy.parameters() if p.ndim > 1], "weight_decay": 0.01}]
    groups += [{"params": [p for p in toy.parameters() if p.ndim == 1], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=(0.9, 0.99))
    average = {name: value.clone() for name, value in toy.state_dict().items()}
    seen = []
    for step in range(STEPS):
        parts = []
        for part in range(2):
            torch.manual_seed(_mix(0, step, part))
            parts.append(toy(toy.batch(step, part, 2, 0.0))[0].mean())
        loss = sum(parts) / 2
        optimizer.zero_grad()
        loss.backward()
        assert torch.nn.utils.clip_grad_norm_(toy.parameters(), 0.5) > 0.5  # so that clipping is compared, too
        optimizer.step()
        decay = min(DECAY, 1 - (1 + step) ** (-2 / 3)) if step else 0.0
        average = {name: decay * average[name] + (1 - decay) * value for name, value in toy.state_dict().items()}
        seen.append(loss.item())
    return torch.tensor(seen, dtype=torch.float64), average


def test_ranks_and_zero_stages_are_one_training(recipe, tmp_path):
    """ZeRO 0 to 3 on two ranks, with and without offload, equal a plain loop; interrupted, they go on bit for bit; and
    one rank with two batches per step goes on for two ranks with one, and the other way round."""
    schedule = {"warmup_steps": 0, "floor": 1.0}
    path = recipe(
        steps=STEPS,
        log_every=1,
        precision="fp32",
        gradient_clip=0.5,
        ema_decay=DECAY,
        optimizer={"lr": LR},
        schedule=schedule,
    )
    for stage in range(4):
        one = ["accumulation=2", f"zero_stage={stage}", f"run={tmp_path / f'from_one{stage}'}"]
        train(load_config(path, [*one, "objective.stop_at=7"]))
    run_ranks(2, HELPERS / "toy_ranks.py", path, tmp_path, "launch/deepspeed/offload.json")

    assert all((tmp_path / f"ended{rank}").exists() for rank in range(2))  # what was registered for the end has run
    plain, averaged = plain_loop()
    for name in ("whole0", "whole1", "whole2", "whole3", "offload2", "offload3"):
        torch.testing.assert_close(losses(tmp_path / name), plain, atol=1e-5, rtol=0)
        assert distance(weights(tmp_path / name), averaged) < 1e-5
    for stage in range(4):
        whole, broken = (tmp_path / f"{name}{stage}" for name in ("whole", "broken"))
        assert torch.equal(losses(whole), losses(broken))
        assert distance(weights(whole), weights(broken)) == 0
        to_one = tmp_path / f"to_one{stage}"
        with pytest.raises(InputError, match=r"ranks=1 x accumulation=1 .* begun with 2; use accumulation=2"):
            train(load_config(path, [f"zero_stage={stage}", f"run={to_one}"]))
        train(load_config(path, ["accumulation=2", f"zero_stage={stage}", f"run={to_one}"]))
        assert distance(weights(whole), weights(tmp_path / f"validating{stage}")) == 0
        for other in (to_one, tmp_path / f"from_one{stage}"):
            torch.testing.assert_close(losses(other), plain, atol=1e-5, rtol=0)
            assert distance(weights(other), averaged) < 1e-5
            assert not list(other.glob("checkpoints/*.part"))
    assert json.loads((whole / "log.jsonl").read_text().splitlines()[-1])["rank"] == 0.5  # the mean over both ranks
    assert json.loads((whole / "run.json").read_text())["samples"] == STEPS * 4 * 2


def test_muon_keeps_its_number_of_ranks(recipe, tmp_path):
    keys = ["zero_stage=2", "optimizer.name=muon"]
    folder = train(load_config(recipe(objective={"stop_at": 1}), keys))
    newest = next((folder / "checkpoints").iterdir())
    state = json.loads((newest / "state.json").read_text())
    (newest / "state.json").write_text(json.dumps({**state, "ranks": 2}))  # as two ranks would have left it
    optimizer = next(newest.glob("engine/*optim_states.pt"))
    (optimizer.parent / optimizer.name.replace("pp_rank_0", "pp_rank_1")).write_bytes(optimizer.read_bytes())
    reseal(newest)
    with pytest.raises(InputError, match="muon under ZeRO goes on with as many ranks as before alone: 2, not 1"):
        train(load_config(recipe(), keys))


def test_a_rank_takes_its_own_gpu_or_the_only_one_that_it_sees():
    assert [gpu_of(rank, 8) for rank in (0, 7)] == [0, 7] and gpu_of(3, 1) == 0
    with pytest.raises(InputError, match="LOCAL_RANK=4, and this machine shows 2 GPUs"):
        gpu_of(4, 2)


def test_several_ranks_are_told_where_they_meet(monkeypatch):
    monkeypatch.setattr(os, "environ", {key: os.environ[key] for key in os.environ if key != "MASTER_PORT"})
    monkeypatch.setitem(os.environ, "WORLD_SIZE", "2")
    with pytest.raises(InputError, match="WORLD_SIZE=2 without MASTER_PORT: the ranks need a port to meet at"):
        start(1)
