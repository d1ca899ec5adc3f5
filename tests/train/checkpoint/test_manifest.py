"""What lies in a checkpoint's folder is what vgen wrote there, and nothing in it runs."""

import json
import logging
import os
import pickle
from pathlib import Path

import pytest
import torch
from toy_objective import reseal, same, weights

from vgen.errors import InputError
from vgen.train.checkpoint import folder as checkpoint
from vgen.train.checkpoint.folder import checkpoints, examine
from vgen.train.checkpoint.unpickling import FORBIDDEN, FORCED, tensors_only
from vgen.train.distributed import Ranks

KEYS = {"checkpoint_minutes": 0, "keep": 3}
ALONE = Ranks(0, 1, torch.device("cpu"))
MODEL = "engine/mp_rank_00_model_states.pt"
OPTIMIZER = "engine/zero_pp_rank_0_mp_rank_00_optim_states.pt"
# Every name by which DeepSpeed 0.19 or torch may look for a file of a checkpoint.
PLANTED = (
    "latest",
    "latest_universal",
    "engine/latest",
    "mp_rank_00_model_states.pt",
    "engine/mp_rank_01_model_states.pt",
    "engine/zero_pp_rank_0_mp_rank_00_model_states.pt",
    "engine/zero_pp_rank_1_mp_rank_00_optim_states.pt",
    "engine/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt",
    "engine/expert_0_mp_rank_00_model_states.pt",
    "engine/layer_0_expert_0_mp_rank_00_model_states.pt",
    "engine/layer_00-model_00-model_states.pt",
    "engine/zero/head.weight/fp32.pt",
    "engine/zero/head.weight/exp_avg.pt",
    "engine/zero/optimizer_state.pt",
    "engine/saved.pth",
    "engine/pytorch_model.bin",
    "average-001.safetensors",
    "average.pt",
    "trainer.pkl",
)


class Evil:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.makedirs, (str(self.mark), 0o777, True)


def plant(path: Path, mark: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"module": Evil(mark), "param": Evil(mark)}, path)


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_no_planted_pickle_is_unpickled_and_the_checkpoint_before_is_taken(run, tmp_path, stage, caplog):
    keys = {**KEYS, "zero_stage": stage}
    whole = run(run=str(tmp_path / "whole"), **keys)
    folder, mark = run(objective={"stop_at": 4}, **keys), tmp_path / "unpickled"
    names = [name for name in PLANTED if not (checkpoints(folder)[-1] / name).exists()]
    for newest in checkpoints(folder)[1:]:
        for name in names:
            plant(newest / name, mark)
    run(**keys)
    assert not mark.exists()
    assert same(weights(whole), weights(folder))
    assert "is there, and manifest.json does not list it" in caplog.text
    for name in names:  # and each alone
        newest = checkpoints(folder)[-1]
        plant(newest / name, mark)
        assert f"{name} is there" in examine(newest, ALONE)[1]
        (newest / name).unlink()
        for parent in [p for p in (newest / name).parents if p.name in ("head.weight", "zero")]:
            if not any(parent.iterdir()):
                parent.rmdir()
    assert examine(checkpoints(folder)[-1], ALONE)[1] == ""


@pytest.mark.parametrize("stage", [0, 1, 3])
def test_a_pickle_that_a_manifest_vouches_for_does_not_run_either(run, tmp_path, monkeypatch, stage):
    """Of someone who writes hashes, too; and where the look before is left out, so that DeepSpeed itself meets it."""
    keys = {**KEYS, "keep": 1, "zero_stage": stage}
    folder, mark = run(objective={"stop_at": 4}, **keys), tmp_path / "unpickled"
    (path,) = checkpoints(folder)
    for file in path.glob("engine/*.pt"):
        plant(file, mark)
    reseal(path)
    with pytest.raises(InputError, match=r"holds more than tensors \(os\.makedirs\)") as caught:
        run(**keys)
    assert "weights_only" not in str(caught.value)
    monkeypatch.setattr("vgen.train.checkpoint.manifest.read_tensors", lambda path: None)
    with pytest.raises(InputError, match="does not fit this recipe") as caught:
        run(**keys)
    assert "weights_only" not in str(caught.value)
    assert not mark.exists()


@pytest.mark.parametrize("stage", [1, 3])
def test_a_conversion_to_another_number_of_ranks_unpickles_nothing_else(run, tmp_path, monkeypatch, stage):
    keys = {**KEYS, "keep": 1, "zero_stage": stage}
    folder, mark = run(objective={"stop_at": 4}, **keys), tmp_path / "unpickled"
    (path,) = checkpoints(folder)
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps({**state, "ranks": 2}))
    for name in [file.name for file in path.glob("engine/zero_pp_rank_0*")]:
        plant(path / "engine" / name.replace("pp_rank_0", "pp_rank_1"), mark)
    if stage == 3:
        (path / "average-001.safetensors").write_bytes((path / "average-000.safetensors").read_bytes())
    reseal(path)
    monkeypatch.setattr("vgen.train.checkpoint.manifest.read_tensors", lambda path: None)
    with pytest.raises(InputError, match="does not fit this recipe"):
        run(**keys)
    assert not mark.exists()


def empty(folder):
    (folder / "manifest.json").write_text('{"files": {}}')


def outside(folder):
    real = folder.parent.parent / "elsewhere.pt"
    (folder / MODEL).rename(real)
    (folder / MODEL).symlink_to(real)


def linked_folder(folder):
    (folder / "more").symlink_to(folder.parent)


def pipe(folder):
    os.mkfifo(folder / "pipe")


def named(name):
    def change(folder):
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest = {"files": {**manifest["files"], name: manifest["files"]["state.json"]}}
        (folder / "manifest.json").write_text(json.dumps(manifest))

    return change


def forged(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["run"] = "another"
    (folder / "manifest.json").write_text(json.dumps(manifest))


def another_run(folder):
    state = json.loads((folder / "state.json").read_text())
    reseal(folder)
    (folder / "state.json").write_text(json.dumps({**state, "fingerprint": "f" * 12}))
    manifest = json.loads((folder / "manifest.json").read_text())
    from vgen.train.checkpoint.manifest import hash_file, write_manifest

    write_manifest(folder, manifest["files"] | {"state.json": hash_file(folder / "state.json")}, manifest["run"])


def without(name):
    def change(folder):
        (folder / name).unlink()
        reseal(folder)

    return change


def text(name, content):
    def change(folder):
        (folder / name).write_text(content)
        if name != "manifest.json":
            (folder / "state.json").write_text(content)
            from vgen.train.checkpoint.manifest import MANIFEST, hash_file, walk, write_manifest

            files = {file: hash_file(path) for file, path in walk(folder) if file != MANIFEST}
            write_manifest(folder, files, "x")

    return change


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (empty, "state.json is there, and|average-000.safetensors is there, and"),
        (outside, "model_states.pt is a link"),
        (linked_folder, "more is a link"),
        (pipe, "pipe is neither a file nor a folder"),
        (named("../step-00000005/state.json"), "no file of the folder"),
        (named("/etc/hostname"), "no file of the folder"),
        (named("engine//x"), "no file of the folder"),
        (forged, "its own sha256 differs"),
        (another_run, "its files are of the run"),
        (without(MODEL), "mp_rank_00_model_states.pt is missing"),
        (without(OPTIMIZER), "optim_states.pt is missing"),
        (without("average-000.safetensors"), "average-000.safetensors is missing"),
        (text("manifest.json", "[" * 100_000), "manifest.json is missing or unreadable"),
        (text("manifest.json", '{"files": {"state.json": 1}}'), "manifest.json is missing or unreadable"),
        (text("manifest.json", '{"files": []}'), "manifest.json is missing or unreadable"),
        (text("state.json", "{}"), "state.json is not that of a checkpoint"),
        (text("state.json", "[1]"), "state.json is not that of a checkpoint"),
    ],
)
def test_what_makes_a_folder_damaged(run, harm, reason):
    folder = checkpoints(run(**{**KEYS, "keep": 1, "zero_stage": 1}))[-1]
    harm(folder)
    found, damage = examine(folder, ALONE)
    assert found is None
    assert any(part in damage for part in reason.split("|")), damage
    assert "\n" not in damage


def test_what_file_systems_leave_is_told_of_and_not_a_damage(run, caplog):
    folder = run(objective={"stop_at": 3}, **KEYS)
    newest = checkpoints(folder)[-1]
    for name in ("engine/.nfs00000000a1b2c3d400000001", ".DS_Store"):
        (newest / name).write_bytes(pickle.dumps(1))
    with caplog.at_level(logging.WARNING, "vgen"):
        run(**KEYS)
    assert caplog.text.count("is no part of the checkpoint") == 2
    assert "damaged" not in caplog.text


def test_a_manifest_of_an_older_version_still_counts(run, tmp_path):
    whole = run(run=str(tmp_path / "whole"))
    folder = run(objective={"stop_at": 3})
    newest = checkpoints(folder)[-1]
    state = json.loads((newest / "state.json").read_text())
    old = {key: state[key] for key in ("progress", "config", "fingerprint", "ranks", "parts")}
    del old["config"]["keep_exports"]
    (newest / "state.json").write_text(json.dumps(old))
    reseal(newest)
    manifest = json.loads((newest / "manifest.json").read_text())
    (newest / "manifest.json").write_text(json.dumps({"files": manifest["files"]}))
    run()
    assert same(weights(whole), weights(folder))


def test_a_file_that_changes_while_it_is_loaded_is_refused(run, monkeypatch):
    folder = run(objective={"stop_at": 3})
    newest, load = checkpoints(folder)[-1], checkpoint.tensors_only

    def swapped():
        content = (newest / MODEL).read_bytes()
        (newest / MODEL).unlink()
        (newest / MODEL).write_bytes(content)
        return load()

    monkeypatch.setattr(checkpoint, "tensors_only", swapped)
    with pytest.raises(InputError, match=r"model_states\.pt has changed while it was read"):
        run()


def test_the_restriction_holds_for_all_threads_and_ends(tmp_path, monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    monkeypatch.setenv(FORBIDDEN, "1")
    monkeypatch.delenv(FORCED, raising=False)
    plant(tmp_path / "evil.pt", tmp_path / "mark")
    with tensors_only(), ThreadPoolExecutor(1) as pool:
        error = pool.submit(torch.load, tmp_path / "evil.pt", weights_only=False).exception()
    assert isinstance(error, pickle.UnpicklingError)
    assert not (tmp_path / "mark").exists()
    assert (os.environ[FORBIDDEN], os.environ.get(FORCED)) == ("1", None)
    torch.load(tmp_path / "evil.pt", weights_only=False)
    assert (tmp_path / "mark").exists()  # so it would have run
