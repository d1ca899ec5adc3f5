"""Training on an unpacked set imports neither what decodes videos nor simulators: it is run where they cannot be."""

import json
import os
import subprocess
import sys

import numpy as np
from launched import OURS, ROOT
from omegaconf import OmegaConf
from tiny_parts import CODEC, TEXT, TRANSFORMER, tiny_codec

from vgen.data.lerobot.writer import LeRobotWriter
from vgen.data.pack.packing import pack
from vgen.data.pack.unpacking import unpack

CAMERA, T = "observation.images.eye", 14
ABSENT = ("av", "decord", "mujoco", "metaworld", "gymnasium", "gymnasium_robotics", "mediapipe", "cv2", "pandas")
LLAMA = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
LLAMA |= {"num_attention_heads": 2, "num_key_value_heads": 2}
RUN = """
import sys
sys.modules.update(dict.fromkeys({absent!r}))  # a module that is None cannot be imported, and is not found
import vgen.reproduce.stages
from vgen.train.config import load_config
from vgen.train.loop import train
for recipe in sys.argv[1:]:
    print(train(load_config(recipe)))
"""


def unpacked(folder):
    """A data set of a hand that goes right, through a pack."""
    writer = LeRobotWriter(folder / "hands", 10, {"observation.state": ["x", "y", "z", "gripper"]}, [CAMERA])
    for episode in range(4):
        state = np.random.default_rng(episode).normal(0, 0.1, (T, 4)).cumsum(0).astype(np.float32)
        video = np.broadcast_to((60 + 10 * np.arange(T))[:, None, None, None], (T, 16, 16, 3)).astype(np.uint8)
        writer.add_episode({"observation.state": state}, {CAMERA: video}, f"go {episode}")
    writer.finish()
    pack([folder / "hands"], folder / "pack")
    return unpack(folder / "pack", folder / "data")[0]


def test_all_objectives_train_on_an_unpacked_set_without_them(tmp_path):
    tiny_codec().save_pretrained(tmp_path / "vae")
    data = {"dataset": str(unpacked(tmp_path)), "camera": "eye", "cache": str(tmp_path / "cache"), "held_out": 0.3}
    (tmp_path / "drawn.yaml").write_text("size: 16x16\nframes: 5\nfps: 10\nprompt: go\n")
    video = {"data": data, "latents": str(tmp_path / "latents"), "latent_workers": 1, "text_length": 16, "frames": 9}
    video |= {"clips": 2, "batch": 1, "validation_clips": 1}
    model = {"codec": str(tmp_path / "vae"), "transformer": TRANSFORMER, "text_encoder": TEXT}
    body = {"data": data, "layout": "position4"}
    adapter = {"injection": "cross_attention", "width": 12, "heads": 2}
    state = {"bodies": [body], "codec": str(tmp_path / "vae"), "latents": str(tmp_path / "latents"), "llama": LLAMA}
    state |= {"states": 2, "history": 3, "horizon": 4, "head_width": 8, "text_tokens": 8, "batch": 2}
    codec = {"data": data, "model": CODEC, "frames": 5, "clips_per_batch": 1, "images_per_batch": 2}
    objectives = {
        "codec": codec | {"statistics_clips": 2},
        "canvas": video | model,
        "ego": video
        | {"bodies": [body | {"clips": 2}], "ego_batch": 1, "adapter": adapter}
        | {"pretrained": str(tmp_path / "canvas/model")},
        "state": state | {"latent_workers": 1, "validation_windows": 1},
    }
    recipes = []
    for name, objective in objectives.items():
        keys = {"run": str(tmp_path / name), "steps": 1, "objective": {"name": name, **objective}}
        if name == "canvas":
            keys["samples"] = {"specs": [str(tmp_path / "drawn.yaml")], "steps": 1}
        recipes.append(str(tmp_path / f"{name}.yaml"))
        OmegaConf.save(OmegaConf.create(keys), recipes[-1])
    environment = {name: value for name, value in os.environ.items() if name not in OURS} | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", RUN.format(absent=ABSENT), *recipes]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr[-3000:]
    for name in objectives:
        log = [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        assert any(record["kind"] == "validation" for record in log), name
    (sample,) = (tmp_path / "canvas/samples").glob("*/drawn")
    assert [file.name for file in sample.iterdir()] == ["contact_sheet.png"]
    assert "without video.mp4, as PyAV is not installed" in ran.stderr
    assert not (tmp_path / "cache/frames").exists()
