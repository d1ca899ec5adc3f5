from pathlib import Path

import numpy as np
import pytest

from vgen.canvas.spec import Canvas, Patch, parse_patch, parse_size
from vgen.errors import InputError


@pytest.mark.parametrize(
    "text, expected",
    [
        ("cat.png@0", Patch("cat.png", 0)),
        ("clip.mp4@10.5", Patch("clip.mp4", 10.5)),
        ("dog.png@41:box=0.1,0.2,0.6,0.8", Patch("dog.png", 41, box=(0.1, 0.2, 0.6, 0.8))),
        (
            "clip.mp4@-17:mask=m.png:as=clip:range=10-40:fit=contain:keep=exact",
            Patch("clip.mp4", -17, mask="m.png", mode="clip", range=(10, 40), fit="contain", keep="exact"),
        ),
        ("me@home.png@3", Patch("me@home.png", 3)),
        ("cat@2.png@0", Patch("cat@2.png", 0)),
        ("cat.png@4:mask=m@2x.png", Patch("cat.png", 4, mask="m@2x.png")),
        (r"C:\pets\cat.png@1:mask=D:\m.png", Patch(r"C:\pets\cat.png", 1, mask=r"D:\m.png")),
        ("a:b=c.png@1:fit=cover", Patch("a:b=c.png", 1)),
    ],
)
def test_patches_on_the_command_line(text, expected):
    assert parse_patch(text) == expected


def test_size_is_height_by_width():
    assert parse_size("384x672") == (384, 672)


def write(folder: Path, text: str) -> Path:
    (folder / "canvas.yaml").write_text(text)
    return folder / "canvas.yaml"


def test_yaml(tmp_path):
    spec = write(
        tmp_path,
        """
        frames: 77
        size: 384x672
        prompt: a cat becomes a dog
        negative_prompt:
        fps: 24
        seed: 3
        patches:
          - {source: cat.png}
          - source: /media/dog.mp4
            frame: -10
            box: [0, 0.25, 0.5, 1]
            mask: masks/dog.png
            as: clip
            range: 0-4
            fit: stretch
          - cat.png@10.5
        """,
    )
    dog = Patch("/media/dog.mp4", -10, (0, 0.25, 0.5, 1), f"{tmp_path}/masks/dog.png", "clip", (0, 4), "stretch")
    cat = f"{tmp_path}/cat.png"
    expected = Canvas(77, 384, 672, "a cat becomes a dog", fps=24, seed=3, patches=(Patch(cat), dog, Patch(cat, 10.5)))
    assert Canvas.from_yaml(spec) == expected


def test_options_in_yaml_may_be_text_as_on_the_command_line(tmp_path):
    patches = "patches: [{source: a.mp4, frame: 0, box: '0.1, 0.2, 0.6, 0.8', range: 0-4, strength: '0.7'}]"
    [patch] = Canvas.from_yaml(write(tmp_path, f"frames: 9\nsize: 32x32\n{patches}")).patches
    assert patch == Patch(f"{tmp_path}/a.mp4", 0, (0.1, 0.2, 0.6, 0.8), range=(0, 4), strength=0.7)
    with pytest.raises(InputError, match=r"patches\[0\]: box=left must be four numbers, such as 0.1,0.2,0.6,0.8"):
        Canvas.from_yaml(write(tmp_path, "frames: 9\nsize: 32x32\npatches: [{source: a.mp4, frame: 0, box: left}]"))


def test_round_trip():
    dog = Patch("dog.mp4", -10, (0, 0.25, 0.5, 1), "m.png", "clip", (0, 4), "stretch")
    cat = Patch("cat.png", 0.5, keep="model")
    canvas = Canvas(77, 384, 672, "words", "no words", 24, 3, (cat, dog), keep="exact")
    assert Canvas.from_dict(canvas.to_dict()) == canvas


def test_no_prompt_is_another_than_an_empty_one():
    for prompt in (None, ""):
        plain = Canvas(17, 128, 128, prompt).to_dict()
        assert ("prompt" in plain) == (prompt is not None) and Canvas.from_dict(plain).prompt == prompt


def test_paths_are_written_relative_to_a_folder_and_read_back(tmp_path):
    canvas = Canvas(17, 128, 128, patches=(Patch(tmp_path / "media/cat.png", mask=str(tmp_path / "m.png")),))
    written = canvas.to_dict(relative_to=tmp_path / "runs/first")
    assert written["patches"][0]["source"] == "../../media/cat.png"
    read = Canvas.from_dict(written, base=tmp_path / "runs/first")
    assert Path(read.patches[0].source).resolve() == tmp_path / "media/cat.png"
    assert Path(read.patches[0].mask).resolve() == tmp_path / "m.png"


def test_a_patch_in_memory_has_no_yaml():
    canvas = Canvas(17, 128, 128, patches=(Patch(np.zeros((4, 4, 3), np.uint8)),))
    with pytest.raises(InputError, match="in memory"):
        canvas.to_dict()


def test_negative_frames_count_from_the_end():
    canvas = Canvas(17, 128, 128)
    assert [canvas.position(Patch("cat.png", frame)) for frame in (0, 16, -1, -17, 2.5)] == [0, 16, 16, 0, 2.5]


def test_add_keeps_the_canvas():
    canvas = Canvas(17, 128, 128, "words", seed=5, patches=(Patch("cat.png"),))
    assert canvas.add(Patch("dog.png", 1)) == Canvas(
        17, 128, 128, "words", seed=5, patches=(Patch("cat.png"), Patch("dog.png", 1))
    )
