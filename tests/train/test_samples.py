import errno
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from safetensors import SafetensorError
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_wan import save_clips, save_tiny_wan

from vgen import files
from vgen.canvas.pipeline import CanvasPipeline
from vgen.canvas.spec import Canvas
from vgen.errors import InputError, TryAgain
from vgen.media.video import read_video
from vgen.train import loop
from vgen.train.config import load_config
from vgen.train.objectives.canvas import CanvasObjective
from vgen.train.samples import Samples, SamplesConfig
from vgen.train.stop import Stop


@pytest.fixture
def spec(tmp_path):
    """A canvas of another size than the model is trained on: an image at the first frame."""
    noise = np.random.default_rng(0).integers(0, 255, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "image.png")
    canvas = {"frames": 9, "size": "32x32", "prompt": "noise", "patches": [{"source": "image.png", "frame": 0}]}
    OmegaConf.save(OmegaConf.create(canvas), tmp_path / "first.yaml")
    return tmp_path / "first.yaml"


@pytest.fixture
def canvas_recipe(tmp_path):
    recipe = {
        "steps": 3,
        "log_every": 1,
        "precision": "fp32",
        "ema_decay": 0.9,
        "optimizer": {"lr": 0.01},
        "objective": {
            "name": "canvas",
            "pretrained": str(save_tiny_wan(tmp_path / "base")),
            "data": {"cache": str(save_clips(tmp_path / "cache", (16, 16)))},
            "latents": str(tmp_path / "latents"),
            "latent_workers": 1,
            "frames": 5,
            "clips": 6,
            "validation_clips": 2,
            "batch": 1,
        },
    }
    OmegaConf.save(OmegaConf.create(recipe), tmp_path / "recipe.yaml")
    return tmp_path / "recipe.yaml"


def test_samples_are_drawn_with_averaged_weights_and_change_nothing(canvas_recipe, spec, tmp_path, monkeypatch):
    written, noise = {}, np.array(Image.open(spec.with_name("image.png")))
    write = CanvasObjective.write_sample

    def remember(objective, sample, video, folder):
        written[folder.parent.name] = video
        Image.new("RGB", (24, 24)).save(spec.with_name("image.png"))  # it is read once, at the start
        write(objective, sample, video, folder)

    monkeypatch.setattr(CanvasObjective, "write_sample", remember)
    asked = [f"samples.specs=[{spec}]", "samples.every_steps=2", "samples.steps=2", "samples.size=16x16"]
    with_samples = loop.train(load_config(canvas_recipe, [*asked, f"run={tmp_path / 'with'}"]))
    without = loop.train(load_config(canvas_recipe, [f"run={tmp_path / 'without'}"]))

    losses = [[json.loads(line).get("loss") for line in (run / "log.jsonl").open()] for run in (with_samples, without)]
    assert losses[0] == losses[1]

    assert list(written) == ["step-00000002", "step-00000003"]  # every two steps, and at the end
    Image.fromarray(noise).save(spec.with_name("image.png"))
    pipe = CanvasPipeline.from_pretrained(with_samples / "model")  # the averaged weights, after the last step
    canvas = Canvas.from_yaml(spec, size="16x16")
    expected = pipe(canvas, num_inference_steps=2).video
    assert np.abs(expected.astype(int) - written["step-00000003"]).max() <= 1
    assert np.abs(written["step-00000002"].astype(int) - written["step-00000003"]).max() > 1  # the model has changed

    folder = with_samples / "samples" / "step-00000003" / "first"
    assert read_video(folder / "video.mp4").shape == (9, 16, 16, 3)
    assert Image.open(folder / "contact_sheet.png").width > 100
    board = EventAccumulator(str(with_samples / "tensorboard"))
    board.Reload()
    assert [event.step for event in board.Images("samples/first")] == [2, 3]


def test_what_cannot_be_drawn_is_refused_at_once(canvas_recipe, spec, recipe, tmp_path):
    objective = CanvasObjective(load_config(canvas_recipe, ["run=unused"]).objective, seed=0)
    with pytest.raises(InputError, match="nearest"):
        Samples(SamplesConfig([str(spec)], frames=8), objective, tmp_path)
    with pytest.raises(InputError, match="two specs 'first'"):
        Samples(SamplesConfig([str(spec), str(spec)]), objective, tmp_path)
    with pytest.raises(InputError, match=r"absent\.yaml"):
        Samples(SamplesConfig(["absent.yaml"]), objective, tmp_path)
    with pytest.raises(InputError, match=r"every_steps=0"):
        Samples(SamplesConfig([str(spec)], every_steps=0), objective, tmp_path)
    with pytest.raises(InputError, match="toy draws no samples"):
        loop.train(load_config(recipe(samples={"specs": ["any.yaml"]})))


def test_a_run_that_is_told_to_stop_while_it_draws_does_not_draw_on(canvas_recipe, spec, tmp_path, monkeypatch):
    """Of a large model, a sample may take longer than a scheduler waits for the checkpoint."""
    denoised, heed = [], loop.Trainer._heed_stop

    def told(trainer):
        denoised.append(trainer.progress.step)
        if len(denoised) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        heed(trainer)

    monkeypatch.setattr(loop.Trainer, "_heed_stop", told)
    asked = [f"samples.specs=[{spec}]", "samples.every_steps=2", "samples.steps=9", "samples.size=16x16"]
    stop = Stop()
    run = loop.train(load_config(canvas_recipe, [*asked, f"run={tmp_path / 'run'}"]), stop)
    assert denoised == [2, 2] and stop.report.startswith("stopped at step 2 of 3")
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000002"]
    assert not (run / "samples").exists()


def test_activation_checkpointing_gives_the_same_losses(canvas_recipe, tmp_path):
    losses = {}
    for key in ("false", "true"):
        run = loop.train(
            load_config(canvas_recipe, [f"run={tmp_path / key}", f"objective.activation_checkpointing={key}"])
        )
        losses[key] = [json.loads(line).get("loss") for line in (run / "log.jsonl").open()]
    assert len(losses["true"]) == 4
    torch.testing.assert_close(torch.tensor(losses["true"]), torch.tensor(losses["false"]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("of", ["export", "write_sample"])
def test_what_a_library_makes_of_a_full_disk_is_asked_before_it_is_removed(
    canvas_recipe, spec, tmp_path, monkeypatch, of
):
    def full(*_):
        raise SafetensorError("words of its own")

    def refuses(*_):
        left = [part for part in (tmp_path / "run").rglob("*.part") if part.is_dir()]
        return OSError(errno.ENOSPC, "No space left on device") if left else None

    monkeypatch.setattr(CanvasObjective, of, lambda objective, *_: (Path(_[-1]).mkdir(exist_ok=True), full()))
    monkeypatch.setattr(files, "probe", refuses)
    asked = [f"samples.specs=[{spec}]", "samples.steps=1", "samples.size=16x16", f"run={tmp_path / 'run'}"]
    with pytest.raises(TryAgain, match=r"of .*run cannot be written: No space left on device"):
        loop.train(load_config(canvas_recipe, asked))
    assert not list((tmp_path / "run").rglob("*.part"))
