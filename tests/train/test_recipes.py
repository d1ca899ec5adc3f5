import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from safetensors.torch import load_file
from tiny_wan import WAN_21, WAN_22, save_tiny_wan

from vgen.backbone.shapes import check_size
from vgen.canvas.pipeline import CanvasPipeline
from vgen.canvas.spec import parse_size
from vgen.data.lerobot.writer import LeRobotWriter
from vgen.ego.adapter import EgoAdapter
from vgen.errors import InputError
from vgen.media.writing import write_video
from vgen.train.config import load_config
from vgen.train.loop import train
from vgen.train.objectives.conditions import ConditionDraw, draw_conditions, draw_given

ROOT = Path(__file__).parents[2]
RECIPES = sorted(path for path in ROOT.glob("configs/train/*.yaml") if path.name != "wan_base.yaml")
WAN = [path for path in RECIPES if path.name.startswith("wan") and "_ego" not in path.stem]
WAN_EGO = [path for path in RECIPES if path.name.startswith("wan") and path.stem.endswith("_ego")]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_valid_and_says_what_it_needs(path):
    config = load_config(path)
    assert config.run == f"runs/{path.stem}"
    head = re.match(r"(#.*\n)+", path.read_text())[0]
    assert "Needs" in head


@pytest.mark.parametrize("path", WAN, ids=lambda path: path.stem)
def test_wan_is_trained_as_in_the_paper(path):
    config = load_config(path)
    objective = config.objective
    assert (config.steps, objective.frames, objective.data.fps, objective.data.sizes) == (20000, 77, 15, ["384x672"])
    check_size(*parse_size(objective.data.sizes[0]), 32)
    ranks = re.search(r"accumulation: \d+ # of (one|\d+) GPU", path.read_text())[1]
    assert int(ranks.replace("one", "1")) * objective.batch * config.accumulation == 32
    assert (config.optimizer.name, config.optimizer.weight_decay) == ("adamw", 0.0)
    assert config.optimizer.lr == (1e-4 if objective.lora.rank else 5e-5)
    rng = np.random.default_rng(0)
    assert {draw_conditions(objective.conditions, 77, rng) for _ in range(50)} == {ConditionDraw("patches", 20)}
    places, masks = draw_given(ConditionDraw("patches", 20), objective.conditions, 77, (48, 84), rng)
    assert len(set(places)) == 20 and all(0.03 < mask.mean() <= 1 for mask in masks)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {name: save_tiny_wan(folder / name, codec) for name, codec in (("wan21", WAN_21), ("wan22", WAN_22))}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for number in range(4):
        video = np.random.default_rng(number).integers(0, 255, (24, 32, 64, 3), dtype=np.uint8)
        write_video(folder / f"{number}.mp4", video, 15)
        (folder / f"{number}.txt").write_text(f"video {number}")
    return folder


@pytest.mark.parametrize("path", WAN, ids=lambda path: path.stem)
def test_every_wan_recipe_runs_on_a_tiny_model_of_its_format(path, models, videos, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)  # where the paths of recipes start
    own = {
        "run": tmp_path / "run",
        "steps": 2,
        "log_every": 1,
        "accumulation": 1,
        "objective.pretrained": models[path.name[:5]],
        "objective.data.videos": videos,
        "objective.data.cache": tmp_path / "cache",
        "objective.data.sizes": "[32x64]",
        "objective.data.held_out": 0.25,
        "objective.latents": tmp_path / "cache",
        "objective.latent_workers": 1,
        "objective.frames": 21,
        "samples.every_steps": 2,
        "samples.steps": 1,
        "samples.frames": 21,
        "samples.size": "32x64",
    }
    config = load_config(path, [f"{key}={value}" for key, value in own.items()])
    run = train(config)
    assert len(list((run / "samples" / "step-00000002").glob("*/video.mp4"))) == len(config.samples.specs)
    if config.objective.lora.rank:
        weights = load_file(run / "model" / "pytorch_lora_weights.safetensors")
        assert all(weight.numel() for weight in weights.values())
        assert any(weight.abs().max() > 0 for name, weight in weights.items() if "lora_B" in name)
    else:
        before, after = (CanvasPipeline.from_pretrained(m) for m in (config.objective.pretrained, run / "model"))
        pairs = zip(before.transformer.parameters(), after.transformer.parameters(), strict=True)
        assert any((old != new).any() for old, new in pairs)
        assert (after.config.default_frames, after.config.default_height) == (21, 32)


@pytest.fixture(scope="module")
def hands(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hands") / "data"
    columns = ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]
    writer = LeRobotWriter(folder, 15, {"observation.state": columns}, ["observation.images.main"])
    for number in range(4):
        rng = np.random.default_rng(number)
        video = rng.integers(0, 255, (24, 32, 64, 3), dtype=np.uint8)
        writer.add_episode(
            {"observation.state": rng.random((24, 7)).astype(np.float32)},
            {"observation.images.main": video},
            "pick it up",
        )
    writer.finish()
    return folder


@pytest.mark.parametrize("path", WAN_EGO, ids=lambda path: path.stem)
def test_every_ego_recipe_of_wan_runs_on_a_tiny_model_of_its_format(path, models, videos, hands, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    size = {"sizes": ["32x64"], "held_out": 0.25, "cache": str(tmp_path / "cache")}
    config = load_config(path)
    (body,) = OmegaConf.to_container(OmegaConf.create(dataclasses.asdict(config.objective)))["bodies"]
    own = {
        "base": str(path),
        "run": str(tmp_path / "run"),
        "steps": 2,
        "accumulation": 1,
        "objective": {
            "pretrained": str(models[path.name[:5]]),
            "data": {"videos": str(videos), **size},
            "latents": str(tmp_path / "cache"),
            "latent_workers": 1,
            "frames": 9,
            "adapter": {"width": 16, "heads": 2},
            "bodies": [body | {"data": {"dataset": str(hands), "camera": "main", "fps": 15, **size}}],
        },
        "samples": {"specs": []},
    }
    OmegaConf.save(OmegaConf.create(own), tmp_path / "recipe.yaml")
    run = train(load_config(tmp_path / "recipe.yaml"))
    ego = EgoAdapter.from_pretrained(run / "model" / "ego")
    assert list(ego.config.layouts) == [body["layout"]] and ego.config.rates == {body["layout"]: 15}


@pytest.mark.parametrize("source", ["bridge", "rlbench", "ego4d", "egodex"])
@pytest.mark.parametrize("base", ["ego_own", "wan21_1.3b_ego"])
def test_a_recipe_of_a_source_is_another_one_on_its_data(source, base):
    folder = ROOT / "configs" / "train"
    path = folder / f"{base.replace('_own', '')}_{source}.yaml"
    own, plain = (dataclasses.asdict(load_config(file)) for file in (path, folder / f"{base}.yaml"))
    data, (body,) = own["objective"].pop("data"), own["objective"].pop("bodies")
    assert (data["dataset"], data["videos"]) == (f"data/{source}", None)
    assert (body["data"]["dataset"], body["data"]["camera"]) == (data["dataset"], data["camera"])
    assert body["layout"] == {"ego4d": "hand_boxes", "egodex": "hand_pose57"}.get(source, "pose7")
    for objective in (own["objective"], plain["objective"]):
        objective.pop("data", None), objective.pop("bodies", None)
    assert own.pop("run") != plain.pop("run")
    assert own == plain


def test_a_recipe_goes_on_from_its_base(tmp_path):
    (tmp_path / "a.yaml").write_text("run: a\nsteps: 5\noptimizer: {lr: 1.0, weight_decay: 0.5}\n")
    (tmp_path / "b.yaml").write_text("base: a.yaml\nrun: b\nobjective: {name: codec}\noptimizer: {lr: 2.0}\n")
    config = load_config(tmp_path / "b.yaml", ["steps=7"])
    assert (config.run, config.steps, config.optimizer.lr, config.optimizer.weight_decay) == ("b", 7, 2.0, 0.5)
    for base in ("absent.yaml", "c.yaml"):
        (tmp_path / "c.yaml").write_text(f"base: {base}\n")
        with pytest.raises(InputError, match=r"cannot read the recipe .*c\.yaml"):
            load_config(tmp_path / "c.yaml")


def test_a_folder_of_ones_own_videos_is_enough(models, tmp_path, monkeypatch, caplog):
    """Of eight without captions one is damaged, one short, one small and one slow; the folder is all that is given."""
    folder = tmp_path / "mine"
    folder.mkdir()
    shapes = [(96, 160, 20, 30)] * 3 + [(160, 96, 20, 30), (136, 320, 20, 25), (96, 160, 12, 30), (32, 64, 20, 10)]
    for number, (height, width, frames, fps) in enumerate(shapes):
        noise = np.random.default_rng(number).integers(0, 255, (frames, height, width, 3), dtype=np.uint8)
        write_video(folder / f"{number}.mp4", noise, fps)
    (folder / "bad.mp4").write_bytes(b"no video")
    monkeypatch.chdir(tmp_path)
    path = ROOT / "configs" / "train" / "nano_videos.yaml"
    quick = ["max_minutes=null", "steps=1", "objective.clips=7", "objective.batch=1", "objective.latent_workers=1"]
    run = train(
        load_config(path, [f"objective.data.videos={folder}", f"objective.pretrained={models['wan22']}", *quick])
    )
    assert (run / "model" / "model_index.json").exists()
    told = "\n".join(record.getMessage() for record in caplog.records)
    assert "7 of 8 videos have no caption: they are used with an empty one" in told
    assert "left out: bad.mp4 (not a readable video file" in told and "1 of 8 videos dropped: smaller than" in told
    assert "kind" in (run / "log.jsonl").read_text() and "validation" in (run / "log.jsonl").read_text()


def test_a_recipe_without_data_says_what_to_give(models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = ROOT / "configs" / "train" / "nano_videos.yaml"
    with pytest.raises(InputError, match=r"no data are named: give data\.videos, a folder of videos, or data\.dataset"):
        train(load_config(path, [f"objective.pretrained={models['wan22']}"]))
