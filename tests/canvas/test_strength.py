"""Strength of a patch: below 1 it is noised to diffusion time 1 - strength, and says so."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vgen.backbone.encoding import given_of
from vgen.canvas.pipeline import CanvasPipeline
from vgen.canvas.placed import place
from vgen.canvas.spec import Canvas, Patch, parse_patch
from vgen.errors import InputError

SIZE = {"height": 16, "width": 32}
IMAGE = np.random.default_rng(0).integers(0, 256, (16, 32, 3), np.uint8)


def conditions_of(pipe, *patches, seed=0):
    placed = place(Canvas(9, **SIZE, patches=patches, seed=seed))
    return [given.encode(pipe.codec) for given in given_of(placed.conditions, seed, padding="zeros")]


@pytest.fixture
def pipe(tiny_model):
    pipe = CanvasPipeline.from_pretrained(tiny_model)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_a_weak_patch_is_noised_with_the_seed_of_the_canvas_and_says_its_time(pipe):
    (clean,) = conditions_of(pipe, Patch(IMAGE, 3))
    firm, weak = conditions_of(pipe, Patch(IMAGE, 0), Patch(IMAGE, 3, strength=0.75))
    assert firm.time.tolist() == [0] and weak.time.tolist() == [0.25] and weak.t.tolist() == [[0.75]]
    noise = (weak.latent - 0.75 * clean.latent) / 0.25
    assert abs(noise.mean()) < 0.5 and 0.6 < noise.std() < 1.4
    again, other = (conditions_of(pipe, Patch(IMAGE, 3, strength=0.75), seed=seed)[0] for seed in (0, 1))
    assert not torch.equal(again.latent, other.latent)
    assert torch.equal(again.latent, conditions_of(pipe, Patch(IMAGE, 3, strength=0.75))[0].latent)


def test_strength_of_one_changes_nothing_and_less_does(pipe):
    canvas = Canvas(9, **SIZE, patches=(Patch(IMAGE, 3),))
    plain, one, weak = (
        pipe(replace(canvas, patches=(Patch(IMAGE, 3, **given),)), num_inference_steps=2).video
        for given in ({}, {"strength": 1}, {"strength": 0.5})
    )
    assert np.array_equal(plain, one) and not np.array_equal(plain, weak)


def test_at_one_frame_each_strength_is_a_condition_without_what_the_later_covers():
    half = (0, 0, 0.5, 1)
    under, over = Patch(IMAGE, 2), Patch(IMAGE, 2, half, strength=0.5)
    first, second = place(Canvas(9, **SIZE, patches=(under, over))).conditions
    assert (first.strength, second.strength) == (1, 0.5)
    assert not first.mask[..., :16].any() and first.mask[..., 16:].all() and not first.pixels[..., :16].any()
    (whole,) = place(Canvas(9, **SIZE, patches=(over, under))).conditions
    assert whole.strength == 1 and whole.mask.all()


def test_it_is_written_and_read():
    assert parse_patch("a.png@3:strength=0.5:fit=stretch") == Patch("a.png", 3, fit="stretch", strength=0.5)
    patch = Patch.from_dict({"source": "a.png", "strength": 0.5})
    assert patch.to_dict() == {"source": "a.png", "frame": 0.0, "strength": 0.5}
    assert "strength" not in Patch("a.png").to_dict()


@pytest.mark.parametrize(
    ("strength", "words"),
    [
        (0, "strength=0 must lie above 0 and up to 1; nearest: 0.01, or leave the patch out"),
        (1.5, "strength=1.5 must lie above 0 and up to 1; nearest: 1"),
        ("all", "strength='all' must be a finite number"),
    ],
)
def test_what_is_no_strength_is_one_line(strength, words):
    with pytest.raises(InputError, match=words):
        Patch(IMAGE, strength=strength)
    with pytest.raises(InputError, match="strength=weak must be a number above 0"):
        parse_patch("a.png@0:strength=weak")


def test_what_is_put_back_exactly_has_full_strength():
    rule = r"strength=0.5 of image@0 lets the model depart from it, .*; use strength=1 or keep=model"
    with pytest.raises(InputError, match=rule):
        Patch(IMAGE, strength=0.5, keep="exact")
    with pytest.raises(InputError, match=rule):
        Canvas(9, **SIZE, keep="exact", patches=(Patch(IMAGE, strength=0.5),))
    Canvas(9, **SIZE, keep="exact", patches=(Patch(IMAGE, strength=0.5, keep="model"),))
