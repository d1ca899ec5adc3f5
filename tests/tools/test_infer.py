import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vgen.canvas import extend
from vgen.commands import infer
from vgen.errors import InputError, exit_on_input_error
from vgen.media.video import read_video, video_info
from vgen.media.writing import write_video

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(monkeypatch, tiny_model, media, tmp_path):
    """Runs the command on the tiny model in a folder of its own, beside the media."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "media").symlink_to(media)
    (tmp_path / "tiny").symlink_to(tiny_model)

    def call(*options: str) -> None:
        infer.main(options)

    return call


TINY = ("--model", "tiny", "--frames", "17", "--size", "32x64", "--steps", "2")


def frames(folder: str) -> np.ndarray:
    return read_video(Path(folder, "video.mp4"))


def recorded(folder: str) -> dict:
    return json.loads(Path(folder, "run.json").read_text())


def test_a_video_a_sheet_and_a_record(run, capsys, tmp_path):
    run(*TINY, "--patch", "media/cat.png@0", "--patch", "media/clip9.mp4@-9:as=clip", "--fps", "12", "--out", "out")
    files = ["contact_sheet.png", "preview.mp4", "run.json", "video.mp4"]
    assert sorted(path.name for path in Path("out").iterdir()) == files
    info = video_info("out/video.mp4")
    assert (info.frames, info.fps, info.height, info.width) == (17, 12, 32, 64)
    assert Image.open("out/contact_sheet.png").size[0] > 1000
    record = recorded("out")
    assert record["canvas"]["patches"][0]["source"] == "../media/cat.png" and record["settings"]["model"] == "../tiny"
    assert str(tmp_path) not in Path("out/run.json").read_text()
    assert record["seconds"].keys() >= {"load", "encode", "denoise", "decode", "all"}
    output = capsys.readouterr().out.splitlines()
    assert output[0].split()[:2] == ["patch", "frames"]
    assert [line.split()[:2] for line in output[1:3]] == [["cat.png@0", "0"], ["clip9.mp4@-9", "8-16"]]
    shown = "video.mp4 (12 fps), preview.mp4 (128x256, 8.5 fps, 3 times), contact_sheet.png and run.json"
    assert output[-1] == f"wrote out/{shown}" and record["seam"] is None
    assert record["fidelity"][0]["mean"] == pytest.approx(float(output[1].split()[3]), abs=0.01)


def test_what_lies_outside_of_the_training_is_told_in_one_line(run, caplog, capsys, tiny_model):
    shutil.copytree(tiny_model, "mine")
    known = {"sizes": ["32x64"], "frames": [17], "words": "cat", "codec_psnr": [60, 70, 80]}
    Path("mine/training_range.json").write_text(json.dumps(known))
    run("--model", "mine", *TINY[2:], "--patch", "media/cat.png@0", "--prompt", "a dog and cats", "--out", "out")
    [line] = [record.message for record in caplog.records if record.message.startswith("outside of")]
    held = recorded("out")["fidelity"][0]["codec"]
    assert line == (
        f"outside of what mine was trained on: the picture cat.png@0 (its codec holds {held:.1f} dB of it; "
        'training pictures 60 to 80), the word "dog"; the result will be poor'
    )
    assert f"{held:.2f}" in capsys.readouterr().out.splitlines()[1].split()
    caplog.clear()
    Path("mine/training_range.json").write_text(json.dumps(known | {"codec_psnr": [0, 1, 2], "words": "cat dog"}))
    run("--model", "mine", *TINY[2:], "--patch", "media/cat.png@0", "--prompt", "a dog and cats", "--out", "again")
    assert "outside of" not in caplog.text
    assert recorded("again")["frames_sha256"] == recorded("out")["frames_sha256"]


def test_an_earlier_run_is_made_again_bit_for_bit(run, capsys):
    run(*TINY, "--patch", "media/cat.png@3", "--seed", "7", "--scheduler", "unipc", "--out", "first")
    run("--from", "first/run.json", "--out", "somewhere/else/again")
    assert "the frames are those of the earlier run" in capsys.readouterr().out
    assert Path("first/video.mp4").read_bytes() == Path("somewhere/else/again/video.mp4").read_bytes()
    again = recorded("somewhere/else/again")
    assert again["frames_sha256"] == recorded("first")["frames_sha256"]
    assert again["settings"]["scheduler"] == "unipc" and again["canvas"]["seed"] == 7
    run(*TINY, "--patch", "media/cat.png@3", "--seed", "8", "--scheduler", "unipc", "--out", "other")
    assert recorded("other")["frames_sha256"] != again["frames_sha256"]


def test_given_pixels_are_kept_and_an_animation_is_written(run, capsys):
    run(*TINY, "--patch", "media/cat.png@3", "--keep", "exact", "--animation", "webp", "--out", "out")
    with Image.open("out/video.webp") as picture:
        assert picture.n_frames == 17
    record, output = recorded("out"), capsys.readouterr().out
    assert record["canvas"]["keep"] == "exact" and record["fidelity"][0]["worst"] == 100
    assert record["seam"]["time"] < record["seam"]["pasted_time"] and "seam, in grey levels: to the next" in output
    run("--from", "out/run.json", "--out", "out", "--overwrite")
    assert recorded("out")["frames_sha256"] == record["frames_sha256"] and not Path("out/video.webp").exists()


def test_options_go_before_the_spec(run):
    Path("spec").mkdir()
    Path("spec/canvas.yaml").write_text(
        "frames: 9\nsize: 32x64\nprompt: a dog\nseed: 3\npatches: [{source: ../media/cat.png}]\n"
    )
    given = ("--model", "tiny", "--steps", "1", "--frames", "5", "--prompt", "a cat", "--patch", "media/dog.png@-1")
    run("--spec", "spec/canvas.yaml", *given, "--out", "out")
    canvas = recorded("out")["canvas"]
    assert (canvas["frames"], canvas["size"], canvas["prompt"], canvas["seed"]) == (5, "32x64", "a cat", 3)
    assert [patch["source"] for patch in canvas["patches"]] == ["../media/cat.png", "../media/dog.png"]
    assert len(frames("out")) == 5


def test_extension_past_one_pass(run):
    run(*TINY, "--patch", "media/cat.png@0", "--extend-to", "40", "--out", "long")
    assert len(frames("long")) == 40 and recorded("long")["settings"]["extend_to"] == 40
    run("--from", "long/run.json", "--out", "again")
    assert recorded("again")["frames_sha256"] == recorded("long")["frames_sha256"]


def test_a_broken_off_extension_keeps_its_finished_segments(run, caplog, monkeypatch):
    frames_until_now = extend.extend

    def broken(*given, **more):
        for index, chunk in enumerate(frames_until_now(*given, **more)):
            if index == 2:
                raise KeyboardInterrupt
            yield chunk

    monkeypatch.setattr(extend, "extend", broken)
    for name in ("long.first-29-of-40.mp4", "long.first-29-of-40-2.mp4"):  # the second beside the first
        with pytest.raises(KeyboardInterrupt):
            run(*TINY, "--patch", "media/cat.png@0", "--extend-to", "40", "--out", "long")
        assert f"broken off after 29 of 40 frames, which are kept in {name}" in caplog.text
        assert len(read_video(name)) == 29 and not Path("long").exists()
    monkeypatch.setattr(extend, "extend", frames_until_now)
    run(*TINY, "--patch", "media/cat.png@0", "--extend-to", "40", "--out", "long")
    assert np.array_equal(frames("long")[:29], read_video(name))


def test_the_rate_is_that_of_the_clips_where_they_agree(run, caplog, media):
    write_video("fast.mp4", read_video(media / "clip9.mp4"), 24)
    run(*TINY, "--patch", "fast.mp4@0:range=0-4", "--out", "one")
    assert video_info("one/video.mp4").fps == recorded("one")["fps"] == 24 and "fps" not in recorded("one")["canvas"]
    run("--from", "one/run.json", "--out", "again")
    assert recorded("again")["fps"] == 24 and not caplog.text
    run(*TINY, "--patch", "fast.mp4@0:range=0-4", "--patch", "media/clip9.mp4@8", "--out", "two")
    assert recorded("two")["fps"] == 15 and caplog.text.count("the clips differ, fast.mp4@0 has 24 fps, clip9") == 1
    run(*TINY, "--patch", "fast.mp4@0:range=0-4", "--fps", "24", "--out", "said")
    assert recorded("said")["frames_sha256"] == recorded("one")["frames_sha256"]
    run(*TINY, "--patch", "fast.mp4@0:range=3-3", "--out", "still")
    assert recorded("still")["fps"] == 15


def test_what_the_sheet_leaves_out_is_printed(run, capsys):
    run(*TINY, "--patch", "media/cat.png@0", "--extend-to", "27", "--out", "long")
    assert "contact_sheet.png shows, of what was completed: 24 of 27 frames, without " in capsys.readouterr().out
    run(*TINY, "--patch", "media/cat.png@0", "--out", "short")
    assert "contact_sheet.png shows" not in capsys.readouterr().out


def test_a_second_repetition_is_told_how_to_replace_the_first(run):
    run(*TINY, "--out", "first")
    run("--from", "first/run.json", "--out", "again")
    with pytest.raises(InputError, match=r"out=again holds the results of a run already; .* --overwrite"):
        run("--from", "first/run.json", "--out", "again")
    run("--from", "first/run.json", "--out", "again", "--overwrite")
    run("--from", "again/run.json", "--out", "again", "--overwrite")
    assert recorded("again")["frames_sha256"] == recorded("first")["frames_sha256"]


def test_text_alone_makes_a_video(run, capsys):
    run(*TINY, "--prompt", "a cat", "--out", "out")
    assert len(frames("out")) == 17 and recorded("out")["fidelity"] == []
    assert "patch" not in capsys.readouterr().out


BAD = [
    (("--patch", "media/catt.png@0"), "media/catt.png does not exist; did you mean cat.png?"),
    (("--patch", "media/cat.png@17"), "frame=17"),
    (("--frames", "18"), "frames=18 is not 1 + 4k; nearest: 17, 21"),
    (("--frames", "many"), "argument --frames: invalid int value: 'many'"),
    (("--patch", "media/cat.png@0:box=8,4,40,20"), "of 32x64 pixels, nearest: 0.125,0.125,0.625,0.625"),
    (("--size", "40x64"), "size=40x64 is not a multiple of 16 in height and width; nearest: 32x64"),
    (("--size", "64"), "size=64 must be written HEIGHTxWIDTH"),
    (("--fps", "nan"), "fps=nan"),
    (("--seed", "-1"), "seed=-1"),
    (("--steps", "0"), "steps=0"),
    (("--guidance", "inf"), "guidance=inf"),
    (("--scheduler", "ueler"), "did you mean euler?"),
    (("--attention", "xformers"), "attention=xformers has kernels for CUDA devices only"),
    (("--offload", "sequential"), "offload=sequential needs an accelerator"),
    (("--extend-to", "9"), "--extend-to=9 must lie in 17"),
    (
        ("--frames", "5", "--extend-to", "40"),
        "frames=5 are too few: each segment of --extend-to is given 5 from",
    ),
    (("--frames", "9", "--extend-to", "40", "--loop"), "is given 5 at either end, and makes the others; nearest: 13"),
    (("--loop",), "--loop needs --extend-to"),
    (("--lora", "lost.safetensors"), "lora=lost.safetensors is no file"),
    (("--model", "lost"), "model 'lost' is no installed model"),
    (("--model", "media"), "model 'media' is no diffusers folder"),
    (("--spec", "lost.yaml"), "cannot read the spec lost.yaml"),
    (("--out", "media/cat.png"), "out=media/cat.png is a file; name a folder"),
    (("--promt", "a cat"), "'--promt' is not in the options of vgen infer; nearest: '--prompt'"),
    (("--from", "lost/run.json"), "--from makes an earlier video again as it was; leave out --frames, --model"),
]


@pytest.mark.parametrize("options, names", BAD, ids=range(len(BAD)))
def test_what_is_wrong_is_said_in_one_line_before_the_model_is_loaded(run, monkeypatch, capsys, options, names):
    monkeypatch.setattr("vgen.backbone.load.load_pipeline", lambda *_, **__: pytest.fail("the model was loaded"))
    with pytest.raises(SystemExit) as stop:
        exit_on_input_error(lambda: run(*TINY, "--out", "out", *options))
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.startswith("error: ") and error.count("\n") == 1 and names in error
    assert not Path("out").exists()


@pytest.mark.parametrize("name", ["cat.png", "model"])
def test_a_run_whose_media_changed_is_not_made_again(run, tmp_path, capsys, media, tiny_model, name):
    for link, source in (("media", media), ("tiny", tiny_model)):
        Path(link).unlink()
        shutil.copytree(source, link)
    run(*TINY, "--patch", "media/cat.png@3", "--out", "first")
    changed = Path("media/cat.png") if name == "cat.png" else Path("tiny/vae/config.json")
    changed.write_bytes(changed.read_bytes() + b" ")
    with pytest.raises(SystemExit):
        exit_on_input_error(lambda: run("--from", "first/run.json", "--out", "again"))
    assert f"{name} " in capsys.readouterr().err.replace("../", "") and not Path("again").exists()


@pytest.mark.parametrize(
    "options, names",
    [
        (("--spec", "lost.yaml", "--out", "out"), "cannot read the spec lost.yaml"),
        (("--patch", "cat.png", "--out", "out"), "patch cat.png must be SOURCE@FRAME"),
        (("--patch", "cat.png@0"), "the following arguments are required: --out"),
    ],
)
def test_the_command_itself_says_one_line_and_exits_with_2(tmp_path, options, names):
    command = [sys.executable, ROOT / "tools/infer.py", *options]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and names in done.stderr
