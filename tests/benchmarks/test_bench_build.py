"""Tests of vgen bench build: a folder of videos becomes a bench, the same one each time, whole or not at all."""

import hashlib
import json
import sys

import bench_build
import numpy as np
import pytest
from bench_sets import build as building
from bench_sets.bench import Bench
from bench_sets.lossless import write_lossless
from made_recordings import square_video
from PIL import Image
from scipy import ndimage

from vgen.canvas.placed import place
from vgen.errors import InputError
from vgen.media.video import read_video, video_info
from vgen.media.writing import write_video

OPTIONS = ["--size", "64x64", "--frames", "9", "--per-video", "2", "--clips", "5", "--min-sharpness", "10"]
OPTIONS += ["--min-flow", "0.1"]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Three short videos with captions."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(3):
        video, _ = square_video(seed=number, camera=number)
        smooth = np.stack([ndimage.gaussian_filter(frame, (1.5, 1.5, 0)) for frame in video])
        write_video(folder / f"{number}.mp4", smooth, fps=15)
        (folder / f"{number}.txt").write_text(f"A square on ground {number}.")
    return folder


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["bench_build.py", *map(str, arguments)])
    bench_build.main()


@pytest.fixture(scope="module")
def built(videos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("benches") / "one"
    with pytest.MonkeyPatch.context() as patch:
        run(patch, "--videos", videos, "--out", folder, *OPTIONS)
    return folder


def test_a_bench_is_built_and_told(videos, tmp_path, monkeypatch, capsys, built):
    run(monkeypatch, "--videos", videos, "--out", tmp_path / "two", *OPTIONS)
    told = capsys.readouterr().out
    assert "looked at 5 clips of 3 of 3 videos" in told
    assert "chosen: 5 clips of 3 videos, 9 frames of 64x64 at 15 fps" in told
    assert "AnyP2V: 47 cases: 35 of one scene, 12 of unrelated scenes" in told
    assert "AnyV2V: 12 cases: 5 inpainting, 5 outpainting, 2 transition" in told
    assert (tmp_path / "two/bench.json").read_bytes() == (built / "bench.json").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["two"]


def test_the_manifest_names_every_file_and_no_place(built, videos):
    manifest = json.loads((built / "bench.json").read_text())
    files = {p.relative_to(built).as_posix(): p for p in built.rglob("*") if p.is_file() and p.name != "bench.json"}
    assert manifest["files"] == {name: hashlib.sha256(p.read_bytes()).hexdigest() for name, p in files.items()}
    assert str(videos) not in (built / "bench.json").read_text()
    assert {clip["source"] for clip in manifest["clips"]} == {"0.mp4", "1.mp4", "2.mp4"}
    kinds = [patch["found_by"] for clip in manifest["clips"] for patch in clip["patches"]]
    assert 5 <= kinds.count("motion and GrabCut") <= 8 and set(kinds) == {"motion and GrabCut", "random crop"}


def test_every_case_lies_where_its_truth_has_it(built):
    bench = Bench.read(built)
    assert (bench.frames, bench.fps, bench.size) == (9, 15.0, (64, 64))
    each = {(case.group, case.kind): case for case in bench.cases}
    assert len(each) == 25  # eleven ways to give images, twice, and three to give clips
    for (group, kind), case in each.items():
        truth, placed = case.truth(), place(case.canvas(), 4, 16)
        assert (truth is None) == (kind == "transition" or kind.startswith("unrelated"))
        whole = group == "AnyI2V" or kind == "transition"
        for patch in placed.patches:
            inside = patch.mask[0].numpy() > 0
            assert inside.any() and inside.all() == whole
            if truth is not None:
                given = ((patch.pixels + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
                assert np.array_equal(given[inside], truth[int(patch.frame)][inside]), case.name


def test_masks_hide_what_the_paper_hides(built):
    for number in range(5):
        hole = np.asarray(Image.open(built / f"media/{number:04d}-inpainting.png")) == 0
        rows, columns = hole.any(1), hole.any(0)
        assert 0.18 <= rows.mean() <= 0.52 and 0.18 <= columns.mean() <= 0.52
        assert not (rows[0] or rows[-1] or columns[0] or columns[-1])
        assert 0.58 <= (np.asarray(Image.open(built / f"media/{number:04d}-outpainting.png")) == 0).mean() <= 0.92


def test_a_build_that_is_interrupted_leaves_nothing_half_and_goes_on(videos, tmp_path, monkeypatch, built):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(building, "draw_masks", stop)
        run(patch, "--videos", videos, "--out", tmp_path / "bench", *OPTIONS)
    assert [path.name for path in tmp_path.iterdir()] == [".bench.looks.jsonl"]
    monkeypatch.setattr("bench_sets.choice.look", stop)  # nothing is looked at again
    run(monkeypatch, "--videos", videos, "--out", tmp_path / "bench", *OPTIONS)
    assert (tmp_path / "bench/bench.json").read_bytes() == (built / "bench.json").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["bench"]


def test_what_is_there_is_not_replaced_unasked(videos, built, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="holds a bench already"):
        run(monkeypatch, "--videos", videos, "--out", built, *OPTIONS)
    (tmp_path / "mine.txt").touch()
    with pytest.raises(InputError, match="is no part of a bench"):
        run(monkeypatch, "--videos", videos, "--out", tmp_path, "--overwrite", *OPTIONS)


def test_videos_without_a_clip_are_refused_with_the_nearest_thresholds(videos, tmp_path, monkeypatch):
    options = ["--videos", videos, "--out", tmp_path / "bench"]
    with pytest.raises(InputError, match=r"3 videos are shorter than 5\.07 s .*; nearest: --frames 17") as caught:
        run(monkeypatch, *options)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"6 clips are still .* nearest: --min-flow [\d.]+; all 6 that were looked at"):
        run(monkeypatch, *options, "--size", "64x64", "--frames", "9", "--min-sharpness", "1", "--min-flow", "90")


def test_clips_are_kept_without_loss_and_alike(tmp_path):
    video = np.random.default_rng(0).integers(0, 256, (5, 34, 18, 3), dtype=np.uint8)
    for name in ("one.mkv", "two.mkv"):
        write_lossless(tmp_path / name, video, 12.5)
    assert np.array_equal(read_video(tmp_path / "one.mkv"), video)
    assert video_info(tmp_path / "one.mkv").fps == 12.5
    assert (tmp_path / "one.mkv").read_bytes() == (tmp_path / "two.mkv").read_bytes()


def test_objects_come_from_a_segmenter_that_is_given(videos, tmp_path, monkeypatch):
    from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

    config = SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        hidden_sizes=[8, 8],
        patch_sizes=[3, 3],
        strides=[2, 2],
        num_attention_heads=[1, 1],
        mlp_ratios=[2, 2],
        decoder_hidden_size=8,
        num_labels=6,
    )
    SegformerForSemanticSegmentation(config).save_pretrained(tmp_path / "net")
    SegformerImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "net")
    out = tmp_path / "bench"
    run(monkeypatch, "--videos", videos, "--out", out, "--segmenter", tmp_path / "net", *OPTIONS, "--clips", "2")
    manifest = json.loads((out / "bench.json").read_text())
    assert manifest["settings"]["objects"]["found_by"] == "segmenter net"
    assert len(manifest["settings"]["objects"]["sha256"]) == 64
    assert set(manifest["patches"]) <= {"segmenter net", "random crop", "no object found"}


@pytest.mark.parametrize("held", [None, {}, {"config.json": "{}"}])
def test_a_folder_that_is_no_segmenter_is_refused(tmp_path, held):
    from bench_sets.segmenter import Segmenter

    folder = tmp_path / "net"
    if held is not None:
        folder.mkdir()
        for name, text in held.items():
            (folder / name).write_text(text)
    with pytest.raises(InputError, match="is no segmentation model of transformers") as caught:
        Segmenter(folder)
    assert "\n" not in str(caught.value)


def test_images_are_given_where_one_asks(videos, tmp_path, monkeypatch, built):
    run(monkeypatch, "--videos", videos, "--out", tmp_path / "other", *OPTIONS, "--given", "1,3,6")
    own, other = (Bench.read(folder) for folder in (built, tmp_path / "other"))
    assert {p["frame"] for c in other.cases if c.group == "AnyI2V" for p in c.spec["patches"]} == {1, 3, 6}
    assert {p["frame"] for c in own.cases if c.group == "AnyI2V" for p in c.spec["patches"]} == {0, 4, 8}
    for wrong, said in (("1,3", "--given 1,3 must be three frames"), ("3,1,6", "given=3,1,6 must be three frames in")):
        with pytest.raises(InputError, match=said):
            run(monkeypatch, "--videos", videos, "--out", tmp_path / "none", *OPTIONS, "--given", wrong)
