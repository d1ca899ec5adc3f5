import errno
import json
import logging
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from toy_objective import weights

from vgen.errors import InputError, RunStopped, TryAgain
from vgen.train.checkpoint import folder as checkpoint
from vgen.train.checkpoint.folder import checkpoints
from vgen.train.config import config_changes, config_dict, fingerprint, load_config
from vgen.train.distributed import Ranks

KEYS = {"checkpoint_minutes": 0, "keep": 3}


def test_manifest_names_every_file(run):
    newest = checkpoints(run(**KEYS))[-1]
    files = json.loads((newest / "manifest.json").read_text())["files"]
    there = {str(path.relative_to(newest)) for path in newest.rglob("*") if path.is_file()}
    assert there == {*files, "manifest.json"}
    assert {"state.json", "average-000.safetensors", "engine/mp_rank_00_model_states.pt"} <= set(files)
    state = json.loads((newest / "state.json").read_text())
    assert state["config"]["objective"]["name"] == "toy"
    assert (state["ranks"], state["parts"], state["progress"]["step"]) == (1, 1, 6)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("name", "harm", "reason"),
    [
        ("engine/mp_rank_00_model_states.pt", flip, "sha256"),
        ("average-000.safetensors", cut, "bytes"),
        ("state.json", os.unlink, r"state\.json is missing"),
        ("manifest.json", os.unlink, r"manifest\.json"),
    ],
)
def test_damaged_checkpoint_is_named_and_the_one_before_taken(run, tmp_path, caplog, name, harm, reason):
    whole = run(run=str(tmp_path / "whole"), **KEYS)
    folder = run(run=str(tmp_path / "broken"), objective={"stop_at": 4}, **KEYS)
    assert [path.name for path in checkpoints(folder)] == [f"step-0000000{n}" for n in (3, 4, 5)]
    harm(checkpoints(folder)[-1] / name)
    with caplog.at_level(logging.WARNING, "vgen"):
        run(run=str(folder), **KEYS)
    (message,) = [record.getMessage() for record in caplog.records if "damaged" in record.getMessage()]
    assert "step-00000005" in message
    assert name in message
    assert torch.equal(weights(whole)["head.weight"], weights(folder)["head.weight"])
    assert (folder / "checkpoints" / "step-00000005.damaged").exists()
    assert checkpoints(folder)[-1].name == "step-00000006"


def test_no_whole_checkpoint_is_refused_every_time(run):
    folder = run(**KEYS)
    for path in checkpoints(folder):
        flip(path / "state.json")
    for _ in range(2):
        with pytest.raises(
            InputError, match=r"no checkpoint below .* whole .*step-00000006: state\.json.*step-00000004"
        ):
            run(**KEYS)


@pytest.mark.parametrize("when", ["write", "sync", "rename"])
def test_full_disk_leaves_the_old_checkpoint_and_no_rest(run, monkeypatch, when):
    folder = run(objective={"stop_at": 2}, **KEYS)
    before = {path: path.read_bytes() for path in (folder / "checkpoints").rglob("*") if path.is_file()}

    def full(*paths):
        if when == "rename" and paths[1].name != "step-00000004":
            return real(*paths)
        if when == "sync" and "checkpoints" not in os.readlink(f"/proc/self/fd/{paths[0]}"):
            return real(*paths)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def torch_full(*_, **__):  # torch.save says something of its own, and the disk takes no more
        monkeypatch.setattr(os, "posix_fallocate", full)
        raise RuntimeError("[enforce fail at inline_container.cc:862] . PytorchStreamWriter failed writing file data/1")

    place, name, failure = {
        "write": (torch, "save", torch_full),
        "sync": (os, "fsync", full),
        "rename": (os, "rename", full),
    }[when]
    real = getattr(place, name)
    monkeypatch.setattr(place, name, failure)
    with pytest.raises(RunStopped, match=r"checkpoint .*step-00000004 cannot be written: .*same command") as caught:
        run(**KEYS)
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    assert before == {path: path.read_bytes() for path in (folder / "checkpoints").rglob("*") if path.is_file()}


def test_full_disk_under_the_log(run, tmp_path):
    """The kernel's own full device."""
    folder = run(objective={"stop_at": 1}, **KEYS)
    (folder / "log.jsonl").unlink()
    real = os.replace
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", lambda path, to: _to_full(Path(path), Path(to), real))
        with pytest.raises(RunStopped, match=r"the log of .*No space left"):
            run(**KEYS)


def _to_full(path, target, real):
    if target.name != "log.jsonl":
        return real(path, target)
    path.unlink()
    return target.symlink_to("/dev/full")


def test_full_disk_under_the_export_keeps_the_old_model(run, monkeypatch):
    folder = run(**KEYS)
    before = (folder / "model" / "toy.pt").read_bytes()
    shutil.rmtree(folder / "checkpoints")
    monkeypatch.setattr("toy_objective.ToyObjective.export", lambda self, folder: _half(folder))
    with pytest.raises(RunStopped, match="the model of"):
        run(**KEYS)
    assert (folder / "model" / "toy.pt").read_bytes() == before
    assert not list(folder.glob("model.*"))


def _half(folder):
    folder.mkdir()
    (folder / "toy.pt").write_bytes(b"half")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_changed_recipe_is_shown_and_refused_where_it_is_another_run(run, caplog):
    run(objective={"stop_at": 1}, optimizer={"lr": 0.01})
    with pytest.raises(
        InputError, match=r"objective\.batch_size: 4 → 5; optimizer\.betas: \[0\.9, 0\.99\] → \[0\.9, 0\.95\]"
    ):
        run(objective={"batch_size": 5}, optimizer={"lr": 0.01, "betas": [0.9, 0.95]})
    with pytest.raises(InputError, match=r"accumulation=2 makes steps of 2 batches.*begun with 1"):
        run(accumulation=2, optimizer={"lr": 0.01})
    with pytest.raises(InputError, match="zero_stage=1 cannot read"):
        run(zero_stage=1, force_config_change=True, optimizer={"lr": 0.01})
    with caplog.at_level(logging.INFO, "vgen"):
        run(log_every=1, steps=4, optimizer={"lr": 0.02})
    shown = [record.getMessage() for record in caplog.records if "changed since" in record.getMessage()]
    assert any("optimizer.lr: 0.01 → 0.02" in line for line in shown)
    assert any("steps: 6 → 4" in line for line in shown)
    run(objective={"batch_size": 5}, force_config_change=True, optimizer={"lr": 0.01})


def test_what_the_recipe_says_now_holds_after_a_resume(recipe, run):
    """The optimizer's state brings the old settings with it."""
    from vgen.train import loop
    from vgen.train.checkpoint.resume import find_resume

    run(objective={"stop_at": 1}, zero_stage=2)
    config = load_config(
        recipe(zero_stage=2, gradient_clip=0.5, optimizer={"weight_decay": 0.3}, force_config_change=True)
    )
    ranks = loop.start(1)
    objective = loop.objective_class("toy")(config.objective, 0)
    trainer = loop.Trainer(config, objective, ranks, find_resume(config, ranks))
    assert trainer.progress.step == 2
    assert [group["weight_decay"] for group in trainer.engine.optimizer.param_groups] == [0.3, 0.0]
    assert trainer.engine.optimizer.clip_grad == 0.5


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_a_forced_recipe_whose_shapes_do_not_fit_is_one_line(run, monkeypatch, stage):
    """With the shapes told by the checkpoint, and, as an older vgen left it, without."""
    from vgen.train.checkpoint import resume

    folder = run(objective={"stop_at": 1}, zero_stage=stage)
    real = torch.nn.Linear
    monkeypatch.setattr("toy_objective.nn.Linear", lambda i, o: real(i, o, bias=o != 3))
    keys = {"zero_stage": stage, "force_config_change": True}
    with pytest.raises(InputError, match=r"step-00000002 does not fit this recipe: head\.bias is \[3\] .* not there"):
        run(**keys)
    monkeypatch.setattr(resume, "check_shapes", lambda *_: None)
    with pytest.raises(InputError, match="step-00000002 does not fit this recipe") as caught:
        run(**keys)
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    assert [path.name for path in checkpoints(folder)] == ["step-00000002"]


def test_fingerprint_is_of_the_run(recipe):
    first, second, third = (config_dict(load_config(recipe(), [change])) for change in ("steps=9", "keep=1", "seed=1"))
    assert fingerprint(first) == fingerprint(second) != fingerprint(third)
    older = {key: value for key, value in first.items() if key not in ("spike_factor", "seed")}
    assert config_changes(older, first) == {}  # written before these keys existed
    assert config_changes(older, third) == {"seed": (0, 1), "steps": (9, 6)}


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 400 kB; it can be mounted by root alone."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_is_really_full(run, tmp_path, small_disk):
    keys = {"steps": 60, "log_every": 1, "checkpoint_minutes": 0, "keep": 100}
    with pytest.raises(RunStopped, match=r"cannot be written: .*same command") as caught:
        run(run=str(small_disk / "run"), **keys)
    assert "\n" not in str(caught.value)
    assert not list(small_disk.rglob("*.part"))
    subprocess.run(["mount", "-o", "remount,size=40m", str(small_disk)], check=True)  # room is made
    went_on = run(run=str(small_disk / "run"), **keys)
    whole = run(run=str(tmp_path / "whole"), **{**keys, "keep": 1})
    assert all(torch.equal(value, weights(whole)[name]) for name, value in weights(went_on).items())


def test_a_full_disk_under_a_conversion_is_no_misfit_and_leaves_nothing(tmp_path, monkeypatch):
    """Of DeepSpeed's own form, in which a checkpoint goes on on other ranks."""
    from vgen.train.checkpoint import resume

    def half(settings):
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        monkeypatch.setattr(os, "posix_fallocate", lambda *_: (_ for _ in ()).throw(full))
        (Path(settings.output_folder) / "half.pt").write_bytes(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file data/1")

    monkeypatch.setattr(resume.ds_to_universal, "main", half)
    (tmp_path / "step-00000001").mkdir()
    state = checkpoint.State(checkpoint.Progress(), {}, "", 2, 2)
    found = checkpoint.Checkpoint(tmp_path / "step-00000001", state)
    line = r"the conversion .*universal.part cannot be written: No space left .*start the same command again"
    with pytest.raises(TryAgain, match=line), resume._converted(found, Ranks(0, 1, torch.device("cpu"))):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
