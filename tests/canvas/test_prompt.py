import json
import logging
from dataclasses import replace

import numpy as np
import pytest

from vgen.canvas.extend import extend
from vgen.canvas.pipeline import CanvasPipeline
from vgen.canvas.placed import place
from vgen.canvas.prompt import prompt_line, read_prompt
from vgen.canvas.spec import Canvas, Patch
from vgen.inference.canvas import run_canvas
from vgen.inference.settings import CanvasSettings
from vgen.models import TrainingRange

GREY = np.full((32, 64, 3), 100, np.uint8)
CLIP = np.tile(GREY, (5, 1, 1, 1))
STILL = "a still view"
WORDS = frozenset({"a", "still", "view", "the", "camera", "zooms"})


def reads(prompt, *patches, words=WORDS, default=STILL):
    return read_prompt(place(Canvas(17, 32, 64, prompt, patches=patches)), default, words)


@pytest.mark.parametrize(
    "prompt, read",
    [
        (None, STILL),
        ("", ""),
        ("the camera zooms on a rocket", "the camera zooms on a rocket"),
        ("a rocket starts", STILL),
        ("a drone shot of a city, the camera zooms", STILL),
        ("a rocket starts, the camera zooms", "a rocket starts, the camera zooms"),
        ("?!", STILL),
        (" ", STILL),
        ("the", STILL),
    ],
)
def test_a_picture_is_still_where_its_prompt_says_little(prompt, read):
    assert reads(prompt, Patch(GREY, 0)) == reads(prompt, Patch(GREY, 0), Patch(GREY, -1)) == read


@pytest.mark.parametrize(
    "patches",
    [
        [Patch(GREY, 8, box=(0, 0, 0.5, 1))],
        [Patch(GREY, 0, mask=np.full((32, 64), 128, np.uint8))],
        [Patch(GREY, 0), Patch(GREY, 0, box=(0, 0, 0.5, 1))],
        [Patch(GREY, 0, box=(0, 0, 0.3, 1)), Patch(GREY, 0, box=(0.5, 0, 1, 1))],
        [Patch(CLIP, 4)],
    ],
)
def test_one_frame_in_part_or_a_run_of_frames_leaves_open_what_moves(patches):
    assert reads(None, *patches) == STILL


@pytest.mark.parametrize(
    "patches",
    [
        [],
        [Patch(GREY, 0), Patch(GREY, 8, box=(0, 0, 0.5, 1))],
        [Patch(GREY, 0), Patch(GREY, 8), Patch(GREY, 16)],
        [Patch(CLIP, 0), Patch(GREY, 16)],
        [Patch(CLIP, 0, box=(0, 0, 0.5, 1))],
        [Patch(CLIP, 0, mode="clip")],
    ],
)
def test_what_tells_of_motion_is_read_as_it_is_said(patches):
    assert reads(None, *patches) == ""
    assert reads("a rocket starts", *patches) == "a rocket starts"


def test_a_model_that_does_not_say_what_it_knows_reads_what_is_said():
    assert reads("a rocket starts", Patch(GREY, 0), words=None) == "a rocket starts"
    assert reads(None, Patch(GREY, 0), default="") == ""


@pytest.mark.parametrize("own, read, told", [(None, "", ""), ("", "", ""), ("a cat", "a cat", "")])
def test_nothing_is_told_of_a_prompt_that_is_read(own, read, told):
    assert prompt_line(own, read, WORDS, "nano") == told


def test_a_prompt_without_words_is_told_as_such():
    assert prompt_line("?!", STILL, WORDS, "nano").startswith(f'nano finds no word in "?!" and reads "{STILL}"')


@pytest.fixture
def still_model(tiny_model, tmp_path):
    """`tiny_model` with a default prompt."""
    pipe = CanvasPipeline.from_pretrained(tiny_model)
    pipe.register_to_config(default_prompt=STILL, default_steps=1, default_guidance=1.0)
    pipe.save_pretrained(tmp_path / "model")
    replace(TrainingRange(), words=WORDS).write(tmp_path / "model")
    return tmp_path / "model"


def test_a_pipeline_reads_what_its_index_says_and_tells_it_once(still_model, caplog):
    pipe = CanvasPipeline.from_pretrained(still_model)
    pipe.set_progress_bar_config(disable=True)
    canvas = Canvas(5, 32, 64, patches=[Patch(GREY, 0)])
    with caplog.at_level(logging.WARNING):
        made, again, said = (pipe(each) for each in (canvas, canvas, replace(canvas, prompt=STILL)))
        assert np.array_equal(again.video, made.video)
        empty = pipe(replace(canvas, prompt=""))
    assert made.prompt == said.prompt == STILL and empty.prompt == ""
    assert np.array_equal(made.video, said.video) and not np.array_equal(made.video, empty.video)
    [line] = [record.message for record in caplog.records if "without a prompt" in record.message]
    assert f'reads "{STILL}"' in line


def test_an_extension_goes_on_with_the_prompt_that_its_first_segment_read(still_model):
    pipe = CanvasPipeline.from_pretrained(still_model)
    pipe.set_progress_bar_config(disable=True)
    read = []

    def segments(canvas, *, generator=None):
        output = pipe(canvas, generator=generator)
        read.append(output.prompt)
        return output

    list(extend(segments, Canvas(9, 32, 64, patches=[Patch(GREY, 0)]), 13))
    assert read == [STILL, STILL]


def test_a_run_tells_and_records_what_it_read(still_model, tmp_path, media, caplog):
    with caplog.at_level(logging.WARNING):
        canvas = Canvas(5, 32, 64, "a rocket starts", patches=[Patch(media / "cat.png", 0)])
        run_canvas(canvas, CanvasSettings(str(still_model)), tmp_path / "out")
    record = json.loads((tmp_path / "out/run.json").read_text())
    assert record["canvas"]["prompt"] == "a rocket starts" and record["prompt"] == STILL
    told = [record.message for record in caplog.records if "rocket" in record.message]
    assert len(told) == 1 and 'knows 0 of the 2 words of "a rocket starts" and reads "a still view"' in told[0]
