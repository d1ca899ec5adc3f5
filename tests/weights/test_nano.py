"""The shipped models: small, complete, and open to diffusers' own pipeline."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan, WanPipeline
from PIL import Image

from vgen.backbone.codec import WanCodec
from vgen.canvas.pipeline import CanvasPipeline
from vgen.canvas.placed import place
from vgen.canvas.report import fidelity
from vgen.canvas.spec import Canvas
from vgen.ego.rollout import RolloutSettings
from vgen.ego.world import EgoWorld
from vgen.models import STATE, component_folder, installed, resolve
from vgen.state.model import StateModel
from vgen.state.predict import futures
from vgen.trajectory.convert import resample
from vgen.trajectory.files import TrajectoryFile, read_trajectory

SPEC = "configs/canvas/first_last.yaml"


@pytest.fixture(scope="module")
def pipe():
    pipe = CanvasPipeline.from_pretrained("nano", dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_all_models_together_are_under_60_mb():
    assert installed() == ["nano"]
    files = [file for name in installed() for file in Path(resolve(name)).rglob("*") if file.is_file()]
    assert any(file.suffix == ".safetensors" for file in files)
    assert sum(file.stat().st_size for file in files) < 60e6


def test_it_keeps_the_given_frames_and_moves_between_them(pipe, request):
    canvas = Canvas.from_yaml(request.config.rootpath / SPEC)
    video = pipe(canvas, generator=torch.Generator().manual_seed(0)).video
    assert video.shape == (17, 128, 128, 3)
    first, last = (row.mean for row in fidelity(video, place(canvas)))
    assert min(first, last) > 22
    change = np.abs(video[1:].astype(float) - video[:-1]).mean(axis=(1, 2, 3))
    assert (change > 0.2).sum() > 8  # not a still that jumps


def test_the_hand_goes_where_the_trajectory_says(request):
    """What follows under the true trajectory is like the true frame 16; a hand that is told to stay stays."""
    media = request.config.rootpath / "configs"
    start, truth = (np.asarray(Image.open(media / f"canvas/media/button_{n}.png").convert("RGB")) for n in (0, 16))
    moves = read_trajectory(TrajectoryFile(media / "ego/press.json")).values[:17]
    world = EgoWorld.from_pretrained("nano", "position4", RolloutSettings(advance=16), dtype=torch.float32)
    world.reset(start, "press the button down from above", past=moves[:1], futures=6)
    asked = np.stack([moves[1:], np.repeat(moves[:1], 16, axis=0)]).repeat(3, axis=0)
    moved, stayed = world.step(asked)[:, -1].astype(float).reshape(2, 3, *truth.shape)
    moving = np.abs(truth.astype(float) - start).max(-1) > 25

    def apart(one, other):
        return np.square(one - other).mean(-1)[..., moving].mean()

    assert apart(moved, truth) < 0.75 * apart(stayed, truth)
    assert apart(stayed, start) < 0.5 * apart(moved, start)


def test_it_tells_what_the_hand_will_do(request):
    """The recorded state goes up and on, from where it is; so does the mean of what is drawn, more than staying put."""
    media = request.config.rootpath / "configs"
    start = np.asarray(Image.open(media / "canvas/media/button_0.png").convert("RGB"))
    moves = read_trajectory(TrajectoryFile(media / "ego/press.json"))
    vae = AutoencoderKLWan.from_pretrained(resolve("nano"), subfolder="vae")
    model = StateModel.from_pretrained(component_folder(resolve("nano"), STATE), WanCodec(vae))
    drawn = futures(model, "position4", start[None], moves.rows(0, 1), generator=torch.Generator().manual_seed(0))
    place = np.mean([future.values[:, :3] for future in drawn], axis=0)
    truth = resample(moves, drawn[0].times[drawn[0].times <= moves.times[-1]]).values[:, :3]
    np.testing.assert_allclose(place[0], truth[0], atol=1e-5)
    apart = np.linalg.norm(place[: len(truth)] - truth, axis=1).mean()
    assert apart < 0.9 * np.linalg.norm(truth[0] - truth, axis=1).mean()


def test_diffusers_own_pipeline_makes_videos_from_text_with_it(pipe):
    wan = WanPipeline.from_pretrained(resolve("nano"), dtype=torch.float32)
    wan.set_progress_bar_config(disable=True)
    call = {"num_inference_steps": 2, "guidance_scale": 2.0, "height": 128, "width": 128}
    text = "open the drawer"
    theirs = wan(
        text,
        num_frames=17,
        generator=torch.Generator().manual_seed(0),
        max_sequence_length=wan.tokenizer.model_max_length,
        output_type="pt",
        **call,
    ).frames
    ours = pipe.sample(None, [text], frames=17, generator=torch.Generator().manual_seed(0), **call)
    torch.testing.assert_close(ours.transpose(1, 2) / 2 + 0.5, theirs, atol=1e-3, rtol=1e-3)
