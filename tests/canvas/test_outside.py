import logging

import numpy as np

from vgen.canvas.outside import canvas_outside
from vgen.canvas.pipeline import CanvasPipeline
from vgen.canvas.placed import place
from vgen.canvas.spec import Canvas, Patch
from vgen.models import TrainingRange
from vgen.models.outside import Held

GREY = np.full((32, 64, 3), 100, np.uint8)
CANVAS = Canvas(17, 32, 64, prompt="press the button", fps=15)
KNOWN = TrainingRange(((32, 64),), (17,), (80.0,), ("frames", "text"), frozenset({"press", "button"}), (20, 25, 30))


def test_nothing_of_what_lies_inside_or_is_not_known():
    inside = place(CANVAS.add(Patch(GREY, 0)))
    assert canvas_outside(KNOWN, inside, {(0, "image@0"): Held(26)}) == canvas_outside(KNOWN, place(CANVAS)) == []
    assert canvas_outside(TrainingRange(), place(Canvas(5, 16, 16, prompt="un chat", fps=1))) == []


def test_each_thing_that_lies_outside():
    patches = Patch(GREY, 0, box=(0, 0, 0.5, 1)), Patch(np.tile(GREY, (5, 1, 1, 1)), 4, mode="clip")
    placed = place(Canvas(21, 32, 32, prompt="press the cat", fps=8).add(*patches))
    assert canvas_outside(KNOWN, placed, {(0, "image@0"): Held(9, 0.5)}) == [
        "32x32 pixels (trained: 32x64)",
        "21 frames (trained: 17)",
        "8 frames per second (trained: 80)",
        "as=clip and parts of frames (trained: frames, text)",
        "the picture image@0 (its codec holds 9.0 dB of it; training pictures 20 to 30)",
        'the word "cat"',
    ]


def test_a_poor_picture_is_told_beside_a_good_one_of_its_name():
    left, right = Patch(GREY, 0, box=(0, 0, 0.5, 1)), Patch(GREY, 0, box=(0.5, 0, 1, 1))
    placed = place(CANVAS.add(left, right))
    for names in (("image@0", "image@0"), [each.name for each in placed.patches]):
        held = {(0, names[0]): Held(9), (1, names[1]): Held(26)}
        told = f"the picture {names[0]} (its codec holds 9.0 dB of it; training pictures 20 to 30)"
        assert told in canvas_outside(KNOWN, placed, held)


def test_a_strength_below_1_is_told():
    placed = place(CANVAS.add(Patch(GREY, 0, strength=0.5)))
    assert canvas_outside(KNOWN, placed) == ["strength below 1 (trained: frames, text)"]


def test_a_pipeline_says_once_what_costs_nothing_to_know(tiny_model, caplog):
    pipe = CanvasPipeline.from_pretrained(tiny_model)
    assert pipe.trained is None
    pipe.trained = KNOWN
    pipe.set_progress_bar_config(disable=True)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            pipe(Canvas(5, 32, 64, prompt="a button", fps=80), num_inference_steps=1)
    [line] = [record.message for record in caplog.records if "outside" in record.message]
    assert line.endswith("was trained on: 5 frames (trained: 17); the result will be poor")
