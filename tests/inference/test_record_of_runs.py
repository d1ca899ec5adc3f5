import json
import logging
import shutil

import pytest

from vgen.canvas.spec import Canvas, Patch
from vgen.errors import InputError
from vgen.inference.canvas import CANVAS_RUN
from vgen.inference.ego.run import ROLLOUT_RUN
from vgen.inference.record import describe_run, read_run, write_record
from vgen.inference.settings import CanvasSettings


@pytest.fixture
def run(tmp_path, media, tiny_model):
    """A run on record, beside copies of its media and its model that a test may change."""
    shutil.copytree(tiny_model, tmp_path / "model")
    shutil.copytree(media, tmp_path / "media")
    (tmp_path / "style.safetensors").write_bytes(b"style")
    patches = (
        Patch(str(tmp_path / "media/cat.png"), 3, (0, 0, 0.5, 1), str(tmp_path / "media/left.png")),
        Patch(str(tmp_path / "media/clip9.mp4"), -9, mode="clip"),
        Patch(str(tmp_path / "media/cat.png"), 5),
    )
    canvas = Canvas(17, 32, 64, prompt="a cat", seed=3, patches=patches)
    settings = CanvasSettings(str(tmp_path / "model"), lora=str(tmp_path / "style.safetensors"), steps=4, guidance=2.0)
    (tmp_path / "runs/first").mkdir(parents=True)
    file = tmp_path / "runs/first/run.json"
    write_record(file, describe_run(CANVAS_RUN, canvas, settings, file.parent) | {"frames_sha256": "abc"})
    return file


def change(file, **values):
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_a_record_holds_the_run_and_no_absolute_path(run, tmp_path):
    assert str(tmp_path) not in run.read_text()
    recorded = read_run(CANVAS_RUN, run)
    assert recorded.data["frames_sha256"] == "abc"
    assert recorded.settings.steps == 4 and recorded.settings.guidance == 2.0
    assert (recorded.asked.prompt, recorded.asked.seed, len(recorded.asked.patches)) == ("a cat", 3, 3)
    assert recorded.data["media"].keys() == {"../../media/cat.png", "../../media/left.png", "../../media/clip9.mp4"}
    again = describe_run(CANVAS_RUN, recorded.asked, recorded.settings, run.parent)
    assert again == {key: recorded.data[key] for key in again}


def test_a_record_moves_with_its_media(run, tmp_path):
    shutil.copytree(tmp_path, tmp_path.parent / "moved")
    assert read_run(CANVAS_RUN, tmp_path.parent / "moved/runs/first/run.json").asked.prompt == "a cat"


@pytest.mark.parametrize(
    "file, message",
    [
        ("media/cat.png", "../../media/cat.png has changed since that run"),
        ("media/left.png", "../../media/left.png has changed"),
        ("model/vae/config.json", "model .* has changed since that run"),
        ("style.safetensors", "lora .* has changed since that run"),
    ],
)
def test_what_has_changed_is_named(run, tmp_path, file, message):
    with open(tmp_path / file, "ab") as stream:
        stream.write(b" ")
    with pytest.raises(InputError, match=message):
        read_run(CANVAS_RUN, run)


@pytest.mark.parametrize("file", ["media/cat.png", "media/left.png", "model/model_index.json", "style.safetensors"])
def test_what_is_missing_is_named(run, tmp_path, file):
    (tmp_path / file).unlink()
    with pytest.raises(InputError, match=file.split("/")[0]):
        read_run(CANVAS_RUN, run)


def test_other_versions_are_told(run, caplog):
    with caplog.at_level(logging.WARNING):
        read_run(CANVAS_RUN, run)
        assert not caplog.records
        change(run, versions={"torch": "1.0"}, device="a calculator")
        read_run(CANVAS_RUN, run)
    assert "versions was {'torch': '1.0'}" in caplog.text and "device was a calculator and is cpu" in caplog.text


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "it is not JSON"),
        ("[1]", "it has no canvas"),
        ("{}", "it has no canvas"),
        ('{"canvas": {}, "settings": 3}', "it has no settings"),
    ],
)
def test_what_is_no_record(tmp_path, text, message):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_run(CANVAS_RUN, tmp_path / "run.json")
    with pytest.raises(InputError, match=r"cannot read the run .*: Is a directory"):
        read_run(CANVAS_RUN, tmp_path)
    (tmp_path / "loop.json").symlink_to("loop.json")
    for kind in (CANVAS_RUN, ROLLOUT_RUN):
        with pytest.raises(InputError, match=r"cannot read the run .*: Too many levels of symbolic links"):
            read_run(kind, tmp_path / "loop.json")


def test_a_record_that_was_edited_is_checked_like_any_input(run):
    change(run, settings={"steps": "many"})
    with pytest.raises(InputError, match="steps=many"):
        read_run(CANVAS_RUN, run)
    change(run, canvas={"frames": 17, "size": "32x64", "promt": ""})
    with pytest.raises(InputError, match="'promt'"):
        read_run(CANVAS_RUN, run)
    change(run, torch_threads=0)
    with pytest.raises(InputError, match="torch_threads=0"):
        read_run(CANVAS_RUN, run)
