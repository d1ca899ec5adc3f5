"""tools/rollout.py, end to end on tiny models, and everything that a user can get wrong."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from ego_models import hand, save_model
from PIL import Image
from trajectory_samples import sample

from vgen.backbone import load
from vgen.commands import rollout
from vgen.errors import InputError, exit_on_input_error
from vgen.inference.ego import generate
from vgen.inference.ego.inputs import check_uncut
from vgen.inference.ego.observation import open_observation
from vgen.inference.ego.spec import Start
from vgen.media.video import read_video, video_info
from vgen.state.model import StateModel
from vgen.trajectory import overlay as draw
from vgen.trajectory.convert import to_delta
from vgen.trajectory.files import TrajectoryFile, read_trajectory, write_trajectory

ROOT = Path(__file__).parents[2]
TRAJECTORY_FILES = ["contact_sheet.png", "run.json", "trajectory.json", "trajectory.mp4", "trajectory.npz"]
FILES = sorted([*TRAJECTORY_FILES, "preview.mp4", "video.mp4"])


@pytest.fixture
def run(monkeypatch, ego_model, ego_media, tmp_path):
    """Runs the command on the tiny model in a folder of its own, beside the media."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(draw, "SIDE", 64)  # larger frames take longer to write
    (tmp_path / "media").symlink_to(ego_media)
    (tmp_path / "tiny").symlink_to(ego_model)

    def call(*options: str) -> None:
        rollout.main([*map(str, options)])

    return call


TINY = ("--model", "tiny")
FORWARD = (*TINY, "--start", "media/frame.png", "--trajectory", "media/hand.npz")
EPISODE = "media/episodes:episode=0:split=test:frame=8"


def recorded(folder: str) -> dict:
    return json.loads(Path(folder, "run.json").read_text())


def used(folder: str):
    return read_trajectory(TrajectoryFile(Path(folder, "trajectory.npz")))


def test_a_trajectory_drives_a_video(run, capsys, tmp_path, ego_media):
    run(*FORWARD, "--text", "open the drawer", "--frames", "12", "--out", "out")
    assert sorted(path.name for path in Path("out").iterdir()) == FILES
    info = video_info("out/video.mp4")
    assert (info.frames, info.fps, info.height, info.width) == (13, 20, 32, 64)
    drawn = video_info("out/trajectory.mp4")
    assert (drawn.frames, drawn.height) == (13, 64) and drawn.width > 128  # with panels beside
    start = np.asarray(Image.open(ego_media / "frame.png").convert("RGB")).astype(int)
    assert np.abs(read_video("out/video.mp4", [0])[0] - start).mean() < 12
    path = used("out")
    assert len(path) == 13 and np.allclose(path.times, np.arange(13) / 20)
    given = read_trajectory(TrajectoryFile(ego_media / "hand.npz"))
    assert np.allclose(path.values, given.values[:13], atol=1e-6)
    record = recorded("out")
    assert record["question"]["start"]["path"] == "../media/frame.png" and record["settings"]["model"] == "../tiny"
    assert str(tmp_path) not in Path("out/run.json").read_text()
    output = capsys.readouterr().out
    assert "forward: position4 at 20 per second; 12 frames of future, 0.60 s, after the start frame" in output
    assert "frames per second, decoding included" in output and "seconds: load" in output
    assert "wrote out/video.mp4, preview.mp4 (128x256, 8 fps, 4 times), trajectory.mp4, contact_sheet.png" in output


def test_what_lies_outside_of_the_training_is_told_in_one_line(run, caplog, capsys, ego_model):
    shutil.copytree(ego_model, "mine")
    hand = {"places": {"x": [5, 6]}, "speeds": {"hand": 0.001}}
    known = {"frames": [5], "codec_psnr": [60, 70, 80], "words": "open", "layouts": {"position4": hand}}
    Path("mine/training_range.json").write_text(json.dumps(known))
    options = ("--trajectory", "media/hand.npz", "--text", "open the box", "--frames", "8", "--advance", "8")
    run("--model", "mine", "--start", "media/frame.png", *options, "--out", "out")
    [line] = [record.message for record in caplog.records if record.message.startswith("outside of")]
    held = recorded("out")["start_codec_psnr"]
    for part in (
        "outside of what mine was trained on: advance=8 (trained: 4 at most), the picture frame.png (its codec",
        f" holds {held:.1f} dB of it; training pictures 60 to 80), a start at x=",
        "(trained: 5 to 6), the hand at ",
        'm/s (trained: 0.001 at most), the word "box"; the result will be poor',
    ):
        assert part in line
    assert f"start frame: the codec alone holds {held:.2f} dB of it" in capsys.readouterr().out
    caplog.clear()
    probe = {"offset": [9, 9, 9], "weights": [[0] * 16] * 3, "reach": 0.1}  # of 4 channels in 4 quarters
    Path("mine/training_range.json").write_text(json.dumps({"codec_psnr": [0, 1, 2], "hands": {"position4": probe}}))
    given = ("--video", "out/video.mp4", "--trajectory", "media/hand.npz", "--frames", "2")
    run("--model", "mine", "--mode", "inverse", *given, "--out", "why")
    assert re.search(
        r"trained on: a start 1\d m from where the hand in the picture seems to be \(9, 9, 9, give or take 0.08 m\);",
        caplog.text,
    )


def test_an_earlier_run_is_made_again_bit_for_bit(run, capsys):
    goal = ("--goal", "media/goal.png@6:box=0,0,0.5,1")
    run(*FORWARD, "--frames", "8", "--seed", "7", "--edit", "mirror", *goal, "--out", "first")
    run("--from", "first/run.json", "--out", "somewhere/else/again")
    assert "all is as in the earlier run" in capsys.readouterr().out
    for name in ("video.mp4", "trajectory.mp4", "trajectory.json", "contact_sheet.png"):
        assert Path("first", name).read_bytes() == Path("somewhere/else/again", name).read_bytes()
    again = recorded("somewhere/else/again")
    assert again["frames_sha256"] == recorded("first")["frames_sha256"]
    others = (
        ("--seed", "8", "--edit", "mirror", *goal),
        ("--seed", "7", "--edit", "mirror", "--edit", "stop@0.1", *goal),
        ("--seed", "7", "--edit", "mirror"),
    )
    for other in others:
        run(*FORWARD, "--frames", "8", *other, "--out", "other", "--overwrite")
        assert recorded("other")["frames_sha256"] != again["frames_sha256"]


def test_an_episode_gives_text_past_and_trajectory(run):
    run(*TINY, "--start", EPISODE, "--out", "out")
    record, path = recorded("out"), used("out")
    assert record["frames"] == 15 and len(path) == 16  # all that follow: three whole steps and a part of one
    assert video_info("out/video.mp4").frames == 16
    own = read_trajectory(TrajectoryFile(Path("media/episodes/data/chunk-000/file-000.parquet"), episode=2))
    assert np.allclose(path.values, own.values[8:24], atol=1e-5)
    sheet = Image.open("out/contact_sheet.png")
    run(*TINY, "--start", EPISODE, "--text", "close it", "--out", "text")
    run(*FORWARD, "--frames", "12", "--out", "image")
    assert recorded("text")["frames_sha256"] != record["frames_sha256"]
    assert sheet.height > Image.open("image/contact_sheet.png").height  # by the row of truth
    run("--from", "out/run.json", "--out", "again")
    assert recorded("again")["frames_sha256"] == record["frames_sha256"]


def test_the_episode_s_own_trajectory_from_its_file_is_the_same(run):
    run(*TINY, "--start", EPISODE, "--out", "own")
    parquet = ("--trajectory", "media/episodes/data/chunk-000/file-000.parquet", "--episode", "2", "--at", "0.4")
    run(*TINY, "--start", EPISODE, *parquet, "--out", "file")
    assert recorded("file")["frames"] == 15
    assert np.abs(read_video("own/video.mp4").astype(int) - read_video("file/video.mp4")).max() < 4  # times are float32
    run(*TINY, "--start", EPISODE, *parquet[:-1], "0.2", "--out", "late")
    assert np.abs(read_video("own/video.mp4")[:12].astype(int) - read_video("late/video.mp4")[:12]).max() > 10


def test_a_last_step_is_cut_to_what_was_asked_for(run):
    run(*FORWARD, "--frames", "8", "--out", "whole")
    run(*FORWARD, "--frames", "6", "--out", "part")
    whole, part = read_video("whole/video.mp4"), read_video("part/video.mp4")
    assert len(part) == 7 == len(used("part"))
    assert np.abs(part[:5].astype(int) - whole[:5]).max() <= 3  # the first step is the same


def test_frame_by_frame_at_another_speed(run):
    run(*FORWARD, "--frames", "3", "--advance", "1", "--window", "2", "--fps", "5", "--out", "out")
    info = video_info("out/video.mp4")
    assert (info.frames, info.fps) == (4, 5)


def test_a_policy_goes_on_in_turns(run, capsys):
    run(*TINY, "--mode", "policy", "--start", EPISODE, "--frames", "12", "--out", "out")
    record, path = recorded("out"), used("out")
    assert len(record["texts"]) == 3  # of 4 frames each: 3 steps at 10 per second are 6 frames, 4 in whole steps
    assert len(path) == 13 and np.allclose(path.times, np.arange(13) / 20)
    own = read_trajectory(TrajectoryFile(Path("media/episodes/data/chunk-000/file-000.parquet"), episode=2))
    assert np.allclose(path.values[0], own.values[8], atol=1e-5)
    assert not np.allclose(path.values[12], own.values[20], atol=1e-3)
    output = capsys.readouterr().out
    assert "policy: position4" in output and "text, as given: open drawer 2\n" in output
    assert recorded("out")["text"] == "open drawer 2" and "text, as the policy wrote it: " in output
    run("--from", "out/run.json", "--out", "again")
    assert recorded("again")["frames_sha256"] == record["frames_sha256"]
    run(*TINY, "--mode", "policy", "--start", "media/frame.png", "--trajectory", "media/hand.npz", "--out", "image")
    assert recorded("image")["frames"] == 6 == video_info("image/video.mp4").frames - 1  # the horizon
    assert len(used("image")) == 7 and np.allclose(used("image").values[0], hand().values[-1], atol=1e-6)


def test_a_policy_that_writes_no_sentence_of_its_training_is_told(run, caplog, ego_model, monkeypatch):
    shutil.copytree(ego_model, "mine")
    Path("mine/training_range.json").write_text(json.dumps({"words": "open drawer"}))
    monkeypatch.setattr(StateModel, "_write", lambda self, output, valid: ["open drawerr"] * len(valid))
    run("--model", "mine", "--mode", "policy", "--start", EPISODE, "--frames", "4", "--out", "out")
    assert 'the text "open drawerr" is no sentence that mine was trained on: no caption has the word "drawerr"' in (
        caplog.messages
    )


def test_a_video_is_explained(run, capsys):
    run(*TINY, "--mode", "inverse", "--video", "media/clip.mp4", "--out", "out")
    assert sorted(path.name for path in Path("out").iterdir()) == TRAJECTORY_FILES
    steps = used("out")
    assert (steps.form, len(steps)) == ("delta", 12)  # 25 frames at 20 fps, seen at 10 per second
    output = capsys.readouterr().out
    assert "12 steps, 1.20 s, steps (delta): the start is not known" in output
    assert "how well it is known is open: the model draws one explanation alone" in output  # it regresses
    assert recorded("out")["spread"] == {"hand": 0}
    run(*TINY, "--mode", "inverse", "--video", "media/clip.mp4", "--trajectory", "media/hand.npz", "--out", "known")
    path = used("known")
    assert (path.form, len(path)) == ("absolute", 13)
    assert np.allclose(path.values[-1, :3] - path.values[0, :3], steps.values[:, :3].sum(0), atol=1e-4)
    run(*TINY, "--mode", "inverse", "--video", "media/episodes:episode=1", "--frames", "4", "--out", "episode")
    assert (used("episode").form, len(used("episode"))) == ("absolute", 5)
    run("--from", "out/run.json", "--out", "again")
    assert recorded("again")["trajectory_sha256"] == recorded("out")["trajectory_sha256"]


@pytest.mark.parametrize("name", ["position4", "pose7", "keypoints"])
def test_the_spread_of_explanations_is_that_of_where_their_paths_end(name):
    draws = [to_delta(sample(name, rows=6)) for _ in range(3)]
    start = sample(name, rows=6).rows(0, 1)
    same = generate.path_spread(draws, start)
    assert all(far == pytest.approx(0, abs=1e-6) for far in same.values())
    layout = draws[0].spec
    body = layout.bodies[0]
    x = layout.place(body)[0][0]
    for index, far in enumerate((-0.3, 0.0, 0.3)):
        values = draws[index].values.copy()
        values[2, x] += far
        draws[index] = replace(draws[index], values=values)
    assert generate.path_spread(draws, start)[body] == pytest.approx(0.3, abs=1e-5)
    assert generate.path_spread(draws, None)[body] == pytest.approx(0.3, abs=1e-5)


def test_a_start_of_another_size_is_told(run, caplog):
    run(*TINY, "--start", "media/square.png", "--trajectory", "media/hand.npz", "--frames", "4", "--out", "out")
    assert "square.png is of 64x64; it is resized to the model's 32x64, and cut to keep its aspect ratio" in caplog.text
    caplog.clear()
    run(*TINY, "--start", "media/large.png", "--trajectory", "media/hand.npz", "--frames", "4", "--out", "large")
    assert "large.png is of 64x128; it is resized to the model's 32x64" in caplog.text and "cut" not in caplog.text


GOOD = {"--model": "tiny", "--start": "media/frame.png", "--trajectory": "media/hand.npz", "--out": "out"}
EPISODES = "media/episodes:episode=0"
BAD = [
    ({"--start": None}, "--start is missing"),
    ({"--start": "media/lost.png"}, "media/lost.png does not exist"),
    ({"--start": "media/fram.png"}, "did you mean frame.png?"),
    ({"--start": "media/hand.npz"}, "is neither an image"),
    ({"--start": "media/damaged.png"}, "damaged.png: not a readable image"),
    ({"--start": "media/damaged.mp4"}, "damaged.mp4: not a readable video"),
    ({"--start": "media/frame.png@3"}, "frame.png is an image and has no frame 3"),
    ({"--start": "media/clip.mp4@25"}, "frame=25 is not in clip.mp4; it has frames 0 to 24"),
    ({"--start": "media/episodes"}, "names no episode; write media/episodes:episode=0"),
    ({"--start": "media/episodes:episode=9"}, "it has episodes 0 to 1"),
    ({"--start": "media/episodes:episode=0:split=tset"}, "nearest: 'test'"),
    ({"--start": "media/episodes:episode=0:camera=left"}, "first_person"),
    ({"--start": "media/episodes:episode=0:frame=24"}, "it has frames 0 to 23"),
    ({"--start": "media/episodes:episode=one"}, "episode=one of start"),
    ({"--start": "media/episodes:episod=0"}, "nearest: 'episode'"),
    ({"--start": "media/episodes:episode=0:episode=1"}, "gives episode twice"),
    ({"--start": "media:episode=0"}, "has no meta/info.json"),
    ({"--start": EPISODES, "--trajectory": None, "--column": "observation.sate"}, "nearest: 'observation.state'"),
    ({"--start": "media/unnamed:episode=0", "--trajectory": None}, "does not say the layout of observation.state"),
    ({"--start": EPISODES, "--trajectory": None, "--layout": "pose7"}, "4 columns; layout pose7 has 7"),
    ({"--start": EPISODES, "--trajectory": None, "--layout": "position5"}, "nearest: 'position4'"),
    ({"--start": EPISODES, "--trajectory": None, "--at": "1"}, "at=1 is on the clock of a trajectory"),
    ({"--trajectory": None}, "mode=forward has no trajectory"),
    ({"--trajectory": "media/lost.npz"}, "media/lost.npz does not exist"),
    ({"--trajectory": "media/frame.png"}, "formats of trajectories"),
    ({"--trajectory": "media/wide.npz"}, "5 columns; layout position4 has 4"),
    ({"--trajectory": "media/unsorted.npz"}, "times[2]=1"),
    ({"--trajectory": "media/nan.npz"}, "is nan"),
    ({"--trajectory": "media/millimetres.npz"}, "the model knows values of -4 to 4; give it in m"),
    ({"--trajectory": "media/nanoseconds.npz"}, "they look like nanoseconds; divide them by 1000000000"),
    ({"--trajectory": "media/unknown.npz"}, "nearest: 'position4'"),
    ({"--trajectory": "media/keys.npz"}, "'keypoints' is not in the layouts of model tiny"),
    ({"--trajectory": None, "--trajectory-from": "media/clip.mp4"}, "a video of hands gives keypoints or hand_boxes"),
    ({"--trajectory-from": "media/clip.mp4"}, "are two trajectories; give one of them"),
    ({"--trajectory": "media/hand.npz", "--layout": "pose7"}, "the layout is position4, not pose7"),
    ({"--trajectory": "media/one.npz"}, "enough for 0 frames at 20 per second; give a longer one"),
    ({"--trajectory": "media/steps.npz"}, "the trajectory is delta and the model takes absolute actions"),
    ({"--trajectory": "media/relative.npz"}, "the trajectory is relative and the model takes absolute"),
    ({"--trajectory": "media/steps.npz", "--edit": "mirror"}, "edit=mirror: the trajectory is delta"),
    ({"--at": "7"}, "at=7 s is outside media/hand.npz, 0 to 2 s; nearest: 2"),
    ({"--at": "1.9", "--frames": "4"}, "enough for 2 frames at 20 per second; nearest: 2"),
    ({"--at": "nan"}, "at=nan"),
    ({"--frames": "120"}, "frames=120: the trajectory lasts 2 s from the start frame on, enough for 40 frames"),
    ({"--frames": "0"}, "frames=0 must lie in 1 to"),
    ({"--frames": "-4"}, "frames=-4"),
    ({"--frames": "100001"}, "frames=100001 must lie in 1 to 100000; nearest: 100000"),
    ({"--frames": "many"}, "argument --frames: invalid int value: 'many'"),
    ({"--fps": "0"}, "fps=0"),
    ({"--seed": "-1"}, "seed=-1"),
    ({"--advance": "3"}, "advance=3 is neither 1 nor a multiple of 4; nearest: 4"),
    ({"--advance": "0"}, "advance=0"),
    ({"--window": "0"}, "window=0"),
    ({"--steps": "0"}, "steps=0"),
    ({"--guidance": "-1"}, "guidance=-1"),
    ({"--scheduler": "ueler"}, "did you mean euler?"),
    ({"--attention": "xformers"}, "attention=xformers has kernels for CUDA devices only"),
    ({"--edit": "mirorr"}, "nearest: 'mirror'"),
    ({"--edit": "stop@9"}, "outside the trajectory"),
    ({"--edit": "mirror", "--mode": "policy"}, "edit=mirror changes a given trajectory; mode=policy predicts it"),
    ({"--goal": "media/goal.png"}, "names no frame; write media/goal.png@0"),
    ({"--goal": "media/goal.png@41"}, "frame=41 of goal.png@41 lies outside a canvas of 41 frames"),
    ({"--goal": "media/goal.png@0"}, "lies at frame 0, which is the start frame; nearest: 1"),
    ({"--goal": "media/lost.png@4"}, "lost.png does not exist"),
    ({"--goal": "media/goal.png@4:box=0,0,2,1"}, "box=0,0,2,1 must have"),
    ({"--goal": "media/clip.mp4@4:as=clip"}, "as=clip is for a canvas"),
    ({"--goal": "media/clip.mp4@4:keep=exact"}, "keep= is for a canvas"),
    ({"--goal": "media/goal.png@4", "--mode": "inverse"}, "mode=inverse makes no video"),
    ({"--mode": "polcy"}, "'polcy' is not in the choices of --mode; nearest: 'policy'"),
    ({"--mode": "policy", "--trajectory": None}, "mode=policy does not know where the hand is at the start frame"),
    ({"--mode": "policy", "--trajectory": "media/steps.npz"}, "where the hand is takes an absolute trajectory"),
    ({"--mode": "inverse", "--trajectory": None}, "has no two frames 0.1 s apart"),
    ({"--mode": "inverse", "--start": "media/clip.mp4", "--frames": "13"}, "nearest: 12"),
    (
        {"--mode": "inverse", "--start": "media/clip.mp4", "--layout": "pose7", "--trajectory": None},
        "'pose7' is not in",
    ),
    ({"--mode": "inverse", "--start": "media/clip.mp4@24"}, "has no two frames"),
    ({"--model": "lost"}, "model 'lost' is no installed model"),
    ({"--model": "media"}, "model 'media' is no diffusers folder"),
    ({"--model": "wan"}, "model 'wan' has no ego front-end"),
    ({"--model": "wan", "--mode": "inverse"}, "model 'wan' has no Stage I"),
    ({"--model": "front", "--mode": "policy"}, "model 'front' has no Stage I"),
    ({"--model": "front", "--trajectory": "media/keys.npz"}, "layout 'keypoints' has no statistics"),
    ({"--model": "front", "--mode": "inverse", "--start": "media/clip.mp4", "--trajectory": None}, "no Stage I"),
    ({"--out": "media/frame.png"}, "out=media/frame.png is a file; name a folder"),
    ({"--out": ""}, "out is empty; name a folder"),
    ({"--start": "media/clip.mp4:frame=16"}, "a file has no frame; a frame of a clip is media/clip.mp4@16"),
    ({"--start": EPISODES, "--trajectory": None, "--episode": "1"}, "of a start, write media/episodes:episode=1"),
    ({"--episode": "1"}, "episode=1 is of a trajectory in a parquet file and none is given"),
    ({"--column": "action"}, "column=action is of a data set or a parquet file and neither is given"),
    ({"--trajectory": "x" * 300 + ".npz"}, "does not exist; give a trajectory file"),
    ({"--text": "caf\udce9"}, "must be text in UTF-8"),
    ({"--frames": "4", "--edit": "stop@0.5"}, "time 0.5 s is outside the trajectory, 0 to 0.2 s; nearest: 0.2"),
    ({"--mode": "policy", "--trajectory": "media/millimetres.npz"}, "the model knows values of -4 to 4; give it in m"),
    ({"--mode": "inverse", "--start": "media/clip.mp4", "--steps": "7"}, "--steps is of a video, and mode=inverse"),
    ({"--mode": "inverse", "--start": "media/clip.mp4", "--animation": "gif"}, "--animation is of a video"),
    ({"--animation": "mp4"}, "'mp4' is not in the choices of --animation; known: gif, webp"),
    ({"--strat": "x"}, "'--strat' is not in the options of vgen rollout; nearest: '--start'"),
    ({"--from": "lost/run.json"}, "--from makes an earlier run again as it was; leave out --model, --start"),
]


@pytest.fixture(scope="module")
def damaged(tiny_model, ego_media, vae, tmp_path_factory):
    """Trajectories and media that are none, beside the good ones, and a model that has less than others."""
    good = {"values": np.zeros((3, 4)), "times": np.arange(3.0), "layout": "position4"}
    for name, change in {
        "wide": {"values": np.zeros((3, 5))},
        "unsorted": {"times": [0.0, 2.0, 1.0]},
        "nan": {"values": np.full((3, 4), np.nan)},
        "unknown": {"layout": "position5"},
        "one": {"values": np.zeros((1, 4)), "times": [0.0]},
        "millimetres": {"values": np.full((3, 4), 1e6)},
        "nanoseconds": {"times": np.arange(3) * 1e9},
    }.items():
        np.savez(ego_media / f"{name}.npz", **good | change)
    for name in ("damaged.png", "damaged.mp4"):
        (ego_media / name).write_text("not pixels\n" * 20)
    front = tmp_path_factory.mktemp("front") / "model"
    save_model(tiny_model, front, vae, ("position4", "keypoints"), parts=("ego",))
    config = json.loads((front / "ego/config.json").read_text())
    config["statistics"].pop("keypoints")
    (front / "ego/config.json").write_text(json.dumps(config))
    return front


@pytest.mark.parametrize("change, names", BAD, ids=range(len(BAD)))
def test_what_is_wrong_is_said_in_one_line_before_the_model_is_loaded(
    run, damaged, tiny_model, monkeypatch, capsys, change, names
):
    Path("wan").symlink_to(tiny_model)
    Path("front").symlink_to(damaged)
    for place in ((load, "load_pipeline"), (generate, "StateModel"), (generate, "load_vae")):
        monkeypatch.setattr(*place, lambda *_, **__: pytest.fail("the model was loaded"))
    options = {key: value for key, value in (GOOD | change).items() if value is not None}
    with pytest.raises(SystemExit) as stop:
        exit_on_input_error(lambda: run(*[word for pair in options.items() for word in pair]))
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.startswith("error: ") and error.count("\n") == 1 and names in error
    assert not Path("out").exists()


def test_a_run_is_not_written_over_unasked_and_then_replaced_whole(run, monkeypatch):
    run(*FORWARD, "--frames", "4", "--out", "out")
    before = {file.name: file.read_bytes() for file in Path("out").iterdir()}
    explain = (*TINY, "--mode", "inverse", "--video", "media/clip.mp4", "--layout", "position4", "--out", "out")
    for again in (explain, ("--from", "out/run.json", "--out", "out")):
        with pytest.raises(InputError, match=r"out=out holds the results of a run already; .*--overwrite"):
            run(*again)
    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(generate, "contact_sheet", Mock(side_effect=KeyboardInterrupt))
        run(*explain, "--overwrite")
    assert {file.name: file.read_bytes() for file in Path("out").iterdir()} == before
    own = (*TINY, "--mode", "inverse", "--video", "out/video.mp4", "--layout", "position4")
    with pytest.raises(InputError, match=r"out=out holds out/video\.mp4, which this run reads; name another folder"):
        run(*own, "--out", "out", "--overwrite")
    assert {file.name: file.read_bytes() for file in Path("out").iterdir()} == before
    run(*explain, "--overwrite")
    assert sorted(file.name for file in Path("out").iterdir()) == TRAJECTORY_FILES
    assert recorded("out")["mode"] == "inverse"
    Path("out/notes.txt").touch()
    with pytest.raises(InputError, match=r"out=out holds notes\.txt, which is no part of the results of a run"):
        run(*explain, "--overwrite")


def test_a_run_in_a_linked_folder_is_made_again(run, capsys):
    Path("far/away").mkdir(parents=True)
    Path("linked").symlink_to("far/away")
    run(*FORWARD, "--frames", "4", "--out", "linked/out")
    run("--from", "linked/out/run.json", "--out", "again")
    assert "all is as in the earlier run" in capsys.readouterr().out


def test_the_name_of_a_file_may_be_no_utf8(run, capsys):
    name = os.fsdecode(b"caf\xe9.png")
    Path(name).write_bytes(Path("media/frame.png").read_bytes())
    run(*TINY, "--start", name, "--trajectory", "media/hand.npz", "--frames", "4", "--out", "out")
    run("--from", "out/run.json", "--out", "again")
    assert "all is as in the earlier run" in capsys.readouterr().out


def test_an_episode_whose_own_trajectory_is_unknown_takes_one_from_a_file(run):
    own = ("--trajectory", "media/hand.npz", "--frames", "4")
    run(*TINY, "--start", "media/unnamed:episode=0", *own, "--out", "out")
    assert np.allclose(used("out").values, hand().values[:5], atol=1e-6)


def test_boxes_in_an_image_that_is_cut_are_refused(damaged, ego_media):
    observation = open_observation(Start(str(ego_media / "square.png")), (32, 64), None, "observation.state")
    assert observation.cut
    with pytest.raises(InputError, match=r"square\.png would be cut .* hand_boxes is in shares of whole images"):
        check_uncut(observation, "hand_boxes")
    check_uncut(observation, "position4")
    check_uncut(replace(observation, cut=False), "hand_boxes")


def test_a_choice_among_layouts_is_made_by_the_trajectory_or_asked_for(run, damaged, capsys):
    Path("front").symlink_to(damaged)
    run("--model", "front", *FORWARD[2:], "--frames", "4", "--out", "out")
    assert recorded("out")["layout"] == "position4"


def test_a_run_whose_media_changed_is_not_made_again(run, capsys, ego_media):
    Path("own.npz").write_bytes((ego_media / "hand.npz").read_bytes())
    run(*TINY, "--start", "media/frame.png", "--trajectory", "own.npz", "--frames", "4", "--out", "first")
    Path("own.npz").write_bytes((ego_media / "slow.npz").read_bytes())
    with pytest.raises(SystemExit):
        exit_on_input_error(lambda: run("--from", "first/run.json", "--out", "again"))
    assert "own.npz has changed since that run" in capsys.readouterr().err and not Path("again").exists()
    for text, names in (("{}", "it has no question"), ("[", "is not JSON")):
        Path("bad.json").write_text(text)
        with pytest.raises(SystemExit):
            exit_on_input_error(lambda: run("--from", "bad.json", "--out", "again"))
        assert names in capsys.readouterr().err


def test_actions_that_the_model_has_not_seen_are_told_once_with_their_share(run, caplog):
    path = hand()
    write_trajectory("far.npz", replace(path, values=path.values * 30))
    run(*TINY, "--start", "media/frame.png", "--trajectory", "far.npz", "--frames", "8", "--out", "out")
    assert caplog.text.count("% of the actions are unlike what the model has seen of position4: ") == 1
    assert re.search(r"position4: \w+ is \S+ to \S+, and was \S+ to \S+; check unit and form", caplog.text)


def test_a_trajectory_that_begins_elsewhere_is_told(run, caplog):
    write_trajectory("far.npz", replace(hand(), values=hand().values + 2))
    run(*TINY, "--start", EPISODE, "--trajectory", "far.npz", "--frames", "4", "--out", "out")
    assert "the trajectory begins at z=2.3, the hand is at 0.256" in caplog.text and "--at" in caplog.text


@pytest.mark.parametrize("options, names", [((), "--out"), (("--out", "out"), "--start is missing")])
def test_the_command_itself_says_one_line_and_exits_with_2(tmp_path, options, names):
    command = [sys.executable, ROOT / "tools/rollout.py", *options]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and names in done.stderr
