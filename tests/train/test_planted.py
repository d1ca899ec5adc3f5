"""No code runs from a model, a LoRA, a cache, a data set or a checkpoint, under whatever name a loader reads."""

import json
import pickle
import runpy
import shutil

import numpy as np
import pytest
import torch
import yaml
from ego_models import save_model
from omegaconf import OmegaConf
from planted import DEEPSPEED, NAMES, PEFT, VGEN, Trap, said
from tiny_wan import save_clips
from toy_objective import reseal, same, weights
from transformers import ByT5Tokenizer, CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM

from vgen.backbone.codec import WanCodec, load_vae
from vgen.backbone.lora_files import read_lora
from vgen.canvas.pipeline import CanvasPipeline
from vgen.canvas.spec import Canvas
from vgen.data.cache.frames import FrameCache
from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.data.lerobot.writer import LeRobotWriter
from vgen.ego.pipeline import EgoPipeline
from vgen.state.frame_encoder import load_clip
from vgen.state.language_model import load_tokenizer, load_trunk
from vgen.state.model import StateModel
from vgen.train.checkpoint.folder import checkpoints
from vgen.train.config import load_config
from vgen.train.loop import train
from vgen.train.model_at import model_at
from vgen.trajectory.files import TrajectoryFile, read_trajectory


@pytest.fixture
def trap(tmp_path):
    """Payloads; the test fails where one of them left its mark."""
    trap = Trap(tmp_path / "marks")
    yield trap
    assert trap.sprung() == []


def changed(file, **keys):
    file.write_text(json.dumps(json.loads(file.read_text()) | keys))


@pytest.mark.parametrize(
    ("name", "load"),
    [
        ("pytorch_model.bin", lambda path: torch.load(path, weights_only=False)),
        ("vocab.pkl", lambda path: torch.load(path, weights_only=False)),
        ("latents.npy", lambda path: np.load(path, allow_pickle=True)),
        ("frames.npz", lambda path: np.load(path, allow_pickle=True)["values"]),
        ("own.py", runpy.run_path),
        ("recipe.yaml", lambda path: yaml.unsafe_load(path.read_text())),
        ("rows.parquet", lambda path: pickle.loads(pq_column(path))),
    ],
)
def test_each_payload_leaves_its_mark_where_it_is_trusted(tmp_path, name, load):
    trap = Trap(tmp_path / "marks")
    for _ in range(2):  # both forms of torch
        load(trap.plant(tmp_path / name))
        assert trap.sprung() == [name]
        shutil.rmtree(trap.marks)


def pq_column(path):
    import pyarrow.parquet as pq

    return pq.read_table(path, columns=["observation.state"])["observation.state"][0].as_py()


@pytest.fixture
def model(tiny_model, tmp_path):
    return shutil.copytree(tiny_model, tmp_path / "model")


def test_a_model_with_planted_files_works_and_without_its_own_is_refused(model, trap, tmp_path, monkeypatch):
    trap.plant_all(model)
    monkeypatch.chdir(model)
    assert said(lambda: CanvasPipeline.from_pretrained(model)) == ""
    for file in sorted(model.rglob("*.safetensors")):
        whole = file.read_bytes()
        file.unlink()  # so that a loader looks for another name
        assert "cannot be loaded" in said(lambda: CanvasPipeline.from_pretrained(model))
        for name in ("pytorch_model", "diffusion_pytorch_model"):
            index = {"metadata": {}, "weight_map": {"proj_out.bias": f"{name}-00001-of-00001.bin"}}
            (file.parent / f"{name}.bin.index.json").write_text(json.dumps(index))
        assert "cannot be loaded" in said(lambda: CanvasPipeline.from_pretrained(model))
        file.write_bytes(trap.content(file.with_suffix(".bin")))  # a pickle by the name of another format
        assert "cannot be loaded" in said(lambda: CanvasPipeline.from_pretrained(model))
        file.write_bytes(whole)
    (model / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    assert "cannot be loaded" in said(lambda: load_vae(model / "vae"))


@pytest.mark.parametrize("trusted", ["", "1"])
def test_a_model_that_names_code_of_its_own_runs_none(model, trap, monkeypatch, trusted):
    """In all places where diffusers and transformers look for it; and told by the environment to unpickle anything."""
    if trusted:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", trusted)
    trap.plant_all(model)
    own = {"auto_map": {f"Auto{kind}": "own.Own" for kind in ("Config", "Model", "ModelForSeq2SeqLM")}}
    changed(model / "text_encoder" / "config.json", **own, custom_pipelines={"own": {"impl": "own.Own"}})
    changed(model / "transformer" / "config.json", **own, trust_remote_code=True)
    changed(model / "vae" / "config.json", **own, _class_name="Own")
    tokenizer = {"auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}, "trust_remote_code": True}
    changed(model / "tokenizer" / "tokenizer_config.json", **tokenizer)
    said(lambda: CanvasPipeline.from_pretrained(model))
    said(lambda: load_vae(model / "vae"))
    changed(model / "tokenizer" / "tokenizer_config.json", tokenizer_class="Own")
    said(lambda: CanvasPipeline.from_pretrained(model))
    index = (model / "model_index.json").read_text()
    for part, value in [
        ("_class_name", "Own"),
        ("_class_name", ["own", "Own"]),
        ("_class_name", ["pipeline", "Own"]),
        *[(part, ["own", "Own"]) for part in ("scheduler", "vae", "text_encoder", "tokenizer", "transformer")],
        *[(part, ["modeling_own", "Own"]) for part in ("scheduler", "vae")],
    ]:
        (model / "model_index.json").write_text(index)
        (model / part).mkdir(exist_ok=True)
        changed(model / "model_index.json", **{part: value})
        said(lambda: CanvasPipeline.from_pretrained(model))
    for weight in model.rglob("*.safetensors"):
        weight.unlink()
    assert said(lambda: CanvasPipeline.from_pretrained(model))
    assert said(lambda: load_vae(model / "vae"))


def test_a_front_end_and_stage_one_with_planted_files(tiny_model, trap, tmp_path):
    vae = load_vae(tiny_model / "vae")
    model = save_model(tiny_model, tmp_path / "ego_model", vae)
    trap.plant_all(model)
    loads = (
        lambda: EgoPipeline.from_pretrained(model),
        lambda: StateModel.from_pretrained(model / "state", WanCodec(vae)),
    )
    assert [said(load) for load in loads] == ["", ""]
    for load, part in zip(loads, ("ego", "state"), strict=True):
        for file in sorted((model / part).rglob("*.safetensors")):
            file.unlink()
            assert said(load)


@pytest.mark.parametrize("planted", [False, True])
def test_a_language_model_and_a_vision_tower(trap, tmp_path, planted):
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    trunk, tower = tmp_path / "trunk", tmp_path / "tower"
    LlamaForCausalLM(LlamaConfig(vocab_size=384, num_key_value_heads=2, **sizes)).save_pretrained(trunk)
    ByT5Tokenizer().save_pretrained(trunk)
    CLIPVisionModel(CLIPVisionConfig(image_size=16, patch_size=8, **sizes)).save_pretrained(tower)
    trap.plant_all(trunk, tuple(name for name in NAMES if planted or not name.endswith((".model", ".txt"))))
    trap.plant_all(tower)
    loads = lambda: load_trunk(trunk), lambda: load_tokenizer(trunk), lambda: load_clip(tower)
    assert planted or [said(load) for load in loads] == ["", "", ""]
    own = {"auto_map": {f"Auto{kind}": "own.Own" for kind in ("Config", "Model", "ModelForCausalLM")}}
    for folder in (trunk, tower):
        (folder / "model.safetensors").unlink()
    assert said(loads[0]) and said(loads[2])
    for folder in (trunk, tower):
        changed(folder / "config.json", **own, model_type="own" if planted else "llama")
    changed(trunk / "tokenizer_config.json", auto_map={"AutoTokenizer": ["own.Own", None]}, tokenizer_class="Own")
    for load in loads:
        said(load)
    adapter = {"peft_type": "LORA", "base_model_name_or_path": str(trunk), "auto_mapping": {"parent_library": "own"}}
    (trunk / "adapter_config.json").write_text(json.dumps(adapter | {"base_model_name_or_path": str(tower)}))
    assert said(loads[0])


def test_a_lora(trap, tmp_path):
    folder = tmp_path / "lora"
    folder.mkdir()
    for name in (*PEFT, "lora.safetensors", "model.pt", "pytorch_model.bin", "adapter.ckpt"):
        path = folder / name
        path.write_bytes(trap.content(path.with_suffix(".bin")))
        assert said(lambda: read_lora(folder)), name
        assert said(lambda: read_lora(path)), name  # noqa: B023
        path.unlink()
    trap.plant_all(folder)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 1, "auto_mapping": "own"}))
    assert said(lambda: read_lora(folder))


def test_caches(tiny_model, trap, tmp_path):
    frames, latents = save_clips(tmp_path / "frames", (16, 16)), tmp_path / "latents"
    recipe = {
        "run": str(tmp_path / "run"), "steps": 1, "ema_decay": 0,
        "objective": {
            "name": "canvas", "pretrained": str(tiny_model), "data": {"cache": str(frames)}, "latents": str(latents),
            "latent_workers": 1, "frames": 5, "clips": 2, "validation_clips": 1, "batch": 1,
        },
    }  # fmt: skip
    OmegaConf.save(OmegaConf.create(recipe), tmp_path / "recipe.yaml")

    def again():
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        train(load_config(tmp_path / "recipe.yaml"), only_prepare=True)

    again()
    own = sorted(path for folder in (latents, frames) for path in folder.rglob("*") if path.is_file())
    whole = {path: path.read_bytes() for path in own}
    for folder in (latents, frames):
        trap.plant_all(folder, (*VGEN, "broken.jsonl", "plan.json", "done.jsonl", "rows.pkl", "pytorch_model.bin"))
    assert said(again) == said(lambda: train(load_config(tmp_path / "recipe.yaml"))) == ""
    for path, content in whole.items():
        path.write_bytes(trap.content(path.with_suffix(".bin")))  # its own files, as pickles
        line = said(again)
        assert not line or str(frames) in line
        path.parent.mkdir(exist_ok=True)  # what is damaged as a whole was set aside
        path.write_bytes(content)
    for path in frames.rglob("*"):
        if path.is_file():
            path.write_bytes(trap.content(path.with_suffix(".npy")))
    assert said(lambda: FrameCache(frames))


def test_a_data_set(trap, tmp_path):
    data = tmp_path / "data"
    writer = LeRobotWriter(
        data, 10, {"observation.state": list("xyzg")}, ["front"], layouts={"observation.state": "position4"}
    )
    writer.add_episode({"observation.state": np.zeros((6, 4))}, {"front": np.zeros((6, 16, 16, 3), np.uint8)}, "push")
    writer.finish({"train": (0, 1)})

    def read():
        dataset = LeRobotDataset(data, "train")
        camera = dataset.camera("front")
        return [(dataset.summary(n), dataset.frames(n, camera)) for n in range(len(dataset))]

    trap.plant_all(data, (*VGEN, "stats.pkl", "episodes.pkl", "dataset.py", "data.py", "pytorch_model.bin"))
    assert said(read) == ""
    for path in sorted(path for path in data.rglob("*") if path.suffix in (".parquet", ".json")):
        whole = path.read_bytes()
        for kind in (path.suffix, ".bin", ".npy", ".yaml"):
            path.write_bytes(trap.content(path.with_suffix(kind)))
            said(read)
        path.write_bytes(whole)
    assert said(read) == ""


def test_trajectories_recipes_and_specs(trap, tmp_path):
    for name in ("hand.npz", "hand.npy", "hand.json", "hand.parquet", "hand.csv", "hand.pkl"):
        assert said(lambda: read_trajectory(TrajectoryFile(trap.plant(tmp_path / name), "position4")))  # noqa: B023
    for name in ("recipe.yaml", "recipe.json", "recipe.pkl"):
        path = trap.plant(tmp_path / name)
        assert said(lambda: load_config(path))  # noqa: B023
        assert said(lambda: Canvas.from_yaml(path))  # noqa: B023
    text = f"run: !!python/object/apply:os.makedirs [{str(trap.marks / 'tag')!r}]\nsteps: 1\n"
    (tmp_path / "tag.yaml").write_text(text + "objective: {name: codec}\n")
    assert said(lambda: load_config(tmp_path / "tag.yaml"))


def test_settings_of_deepspeed(run, trap, tmp_path):
    for name in ("settings.json", "settings.pkl", "settings.py"):
        assert said(lambda: run(deepspeed=str(trap.plant(tmp_path / name))))  # noqa: B023


KEYS = {"checkpoint_minutes": 0, "keep": 2}


@pytest.mark.parametrize("stage", [0, 3])
def test_a_checkpoint_with_planted_files(run, trap, tmp_path, stage):
    """Those that the manifest does not list, those that it does, and those in place of its own; for the run that goes
    on and for what makes a model of it."""
    keys = {**KEYS, "zero_stage": stage}
    whole = run(run=str(tmp_path / "whole"), **keys)
    folder = run(objective={"stop_at": 4}, **keys)
    stopped = shutil.copytree(folder, tmp_path / "stopped")
    newest = checkpoints(folder)[-1]

    def made():
        with model_at(folder, int(newest.name.split("-")[1]), tmp_path / "out"):
            pass

    def restored():
        shutil.rmtree(folder)
        shutil.copytree(stopped, folder)

    trap.plant_all(newest)
    assert "is damaged" in said(made)
    assert said(lambda: run(**keys)) == ""  # by the checkpoint before
    assert same(weights(whole), weights(folder))
    restored()
    trap.plant_all(newest)
    reseal(newest)  # by someone who writes hashes, too
    assert "is damaged" in said(made)
    assert said(lambda: run(**keys)) == ""
    restored()
    trap.plant_all(newest, tuple(name for name in NAMES if not name.endswith(".pt")))
    reseal(newest)  # names that nothing reads
    assert said(made) == said(lambda: run(**keys)) == ""
    assert same(weights(whole), weights(folder))
    restored()
    for path in checkpoints(folder):
        for file in [*path.glob("engine/*"), *path.glob("average-*")]:
            file.write_bytes(trap.content(file, zipped=True))
        reseal(path)
    assert said(made)
    assert said(lambda: run(**keys))
    assert {path.name for path in newest.rglob("*.pt")} & {name.split("/")[-1] for name in DEEPSPEED}
