"""Everything a user can get wrong: one line that names the value, before any model is loaded."""

import math
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from vgen.canvas.placed import place, validate
from vgen.canvas.spec import Canvas, Patch, parse_patch
from vgen.errors import exit_on_input_error
from vgen.media.writing import write_video

HEAD = "frames: 17\nsize: 32x64\n"

# YAML, and what the message must name.
SPECS = [
    ("", "is empty"),
    ("# only a comment\n", "is empty"),
    ("just words", "just words"),
    ("- frames: 17\n", "must be a mapping"),
    ("17", "17"),
    ("frames: [17\nsize: 32x64", "line 2"),
    ("frames: 17\n\tsize: 32x64", "line 2"),
    ("frames: 17\nframes: 21\nsize: 32x64", "key frames is given twice"),
    (HEAD + "patches: [{source: cat.png, frame: 1, frame: 2}]", "key frame is given twice"),
    ("!!python/object/apply:os.getcwd []", "line 1"),
    ("frames: !!int abc\nsize: 32x64", "abc"),
    ("[" * 500, "not valid YAML"),
    ("size: 32x64", "no frames"),
    ("frames: 17", "no size"),
    ("frames:\nsize: 32x64", "no frames"),
    (HEAD + "promt: a cat", "'promt' is not in the canvas; nearest: 'prompt'"),
    (HEAD + "17: a cat", "'17' is not in the canvas"),
    (HEAD + "patch: []", "'patch' is not in the canvas; nearest: 'patches'"),
    ("frames: 78\nsize: 32x64", "frames=78 is not 1 + 4k; nearest: 77, 81"),
    ("frames: 0\nsize: 32x64", "frames=0"),
    ("frames: -17\nsize: 32x64", "frames=-17"),
    ("frames: 17.5\nsize: 32x64", "frames=17.5"),
    ("frames: '17'\nsize: 32x64", "frames=17"),
    ("frames: many\nsize: 32x64", "frames=many"),
    ("frames: true\nsize: 32x64", "frames=True"),
    ("frames: 1000001\nsize: 32x64", "frames=1000001 must lie in 1 to 1025; nearest: 1025"),
    ("frames: " + "9" * 400 + "\nsize: 32x64", "frames=999"),
    ("frames: " + "9" * 5000 + "\nsize: 32x64", "not valid YAML"),
    ("frames: 17\nsize: 100x64", "size=100x64 is not a multiple of 32 in height and width; nearest: 96x64"),
    ("frames: 17\nsize: 00x64", "height=0"),
    ("frames: 17\nsize: 0x64", "size=100 must be written HEIGHTxWIDTH"),
    ("frames: 17\nsize: 32x99999", "width=99999"),
    ("frames: 17\nsize: 32", "size=32 "),
    ("frames: 17\nsize: 32*64", "size=32*64"),
    ("frames: 17\nsize: -32x64", "size=-32x64"),
    ("frames: 17\nsize: [32, 64]", "size=[32, 64]"),
    (HEAD + "prompt: [a, cat]", "prompt=['a', 'cat']"),
    (HEAD + "prompt: yes", "prompt=True"),
    (HEAD + "negative_prompt: 3", "negative_prompt=3"),
    (HEAD + "fps: 0", "fps=0"),
    (HEAD + "fps: -15", "fps=-15"),
    (HEAD + "fps: .inf", "fps=inf"),
    (HEAD + "fps: .nan", "fps=nan"),
    (HEAD + "fps: fast", "fps='fast'"),
    (HEAD + "seed: -1", "seed=-1 must lie in 0 to"),
    (HEAD + "seed: 1.5", "seed=1.5"),
    (HEAD + "seed: 99999999999999999999", "seed=99999999999999999999"),
    (HEAD + "seed: 1e3", "seed=1e3"),
    (HEAD + "patches: cat.png@0", "patches=cat.png@0 must be a list"),
    (HEAD + "patches: {source: cat.png}", "patches={'source': 'cat.png'} must be a list"),
    (HEAD + "patches: [3]", "patches[0]: a patch must be a mapping"),
    (HEAD + "patches: [{source: cat.png}, {frame: 3}]", "patches[1]: a patch has no source"),
    (HEAD + "patches: [{source: 3}]", "source=3"),
    (HEAD + "patches: [{source: ''}]", "source=''"),
    (HEAD + "patches: [{source: cat.png, framee: 3}]", "'framee' is not in a patch; nearest: 'frame'"),
    (HEAD + "patches: [{source: cat.png, mode: clip}]", "'mode' is not in a patch"),
    (HEAD + "patches: [{source: cat.png, frame: 17}]", "frame=17 of cat.png@17 lies outside a canvas of 17 frames"),
    (HEAD + "patches: [{source: cat.png, frame: 16.5}]", "frame=16.5"),
    (HEAD + "patches: [{source: cat.png, frame: -18}]", "frame=-18"),
    (HEAD + "patches: [{source: cat.png, frame: -0.5}]", "frame=-0.5"),
    (HEAD + "patches: [{source: cat.png, frame: .nan}]", "frame=nan"),
    (HEAD + "patches: [{source: cat.png, frame: '3'}]", "frame='3' must be a finite number"),
    (HEAD + "patches: [{source: cat.png, frame: [3]}]", "frame=[3]"),
    (HEAD + "patches: [{source: cat.png, box: [0, 0, 1]}]", "box=[0, 0, 1] must be four numbers"),
    (HEAD + "patches: [{source: cat.png, box: [0, 0, 1, 1, 1]}]", "box=[0, 0, 1, 1, 1]"),
    (HEAD + "patches: [{source: cat.png, box: [0, 0, 1, one]}]", "box=[0, 0, 1, 'one']"),
    (HEAD + "patches: [{source: cat.png, box: [0, 0, 1, .nan]}]", "box=[0, 0, 1, nan]"),
    (HEAD + "patches: [{source: cat.png, box: '0,0,1'}]", "box=[0.0, 0.0, 1.0] must be four numbers"),
    (HEAD + "patches: [{source: cat.png, box: 0.5}]", "box=0.5"),
    (HEAD + "patches: [{source: cat.png, box: [0.6, 0, 0.1, 1]}]", "box=0.6,0,0.1,1 must have"),
    (HEAD + "patches: [{source: cat.png, box: [0.5, 0, 0.5, 1]}]", "box=0.5,0,0.5,1 must have"),
    (
        HEAD + "patches: [{source: cat.png, box: [10, 20, 60, 80]}]",
        "of 32x64 pixels, nearest: 0.1562,0.625,0.9375,1",
    ),
    (HEAD + "patches: [{source: cat.png, box: [-0.5, 0, 1, 1]}]", "nearest: 0,0,1,1"),
    (HEAD + "patches: [{source: cat.png, box: [0, 0, 0.001, 1]}]", "box=0,0,0.001,1 is under one pixel"),
    (HEAD + "patches: [{source: cat.png, as: clp}]", "as=clp must be one of frames, clip; did you mean clip?"),
    (HEAD + "patches: [{source: cat.png, as: [clip]}]", "as=['clip']"),
    (HEAD + "patches: [{source: cat.png, fit: covr}]", "did you mean cover?"),
    (
        HEAD + "patches: [{source: cat.png, range: 0-3}]",
        "range=0-3 takes frames of a clip, and this is one picture; leave",
    ),
    (
        HEAD + "patches: [{source: cat.png, frame: 0-8}]",
        "frame=0-8 must be one number, where the patch begins; nearest: 0",
    ),
    (HEAD + "patches: [{source: cat.png, frame: [2, 8]}]", "frame=2-8 must be one number"),
    (HEAD + "patches: ['cat.png@3-8']", "frame=3-8 must be one number, where the patch begins; nearest: 3"),
    (HEAD + "patches: [{source: cat.png, frames: 0-8}]", "'frames' is not in a patch; nearest: 'frame'"),
    (HEAD + "patches: [{source: clip9.mp4, range: 4}]", "range=4"),
    (HEAD + "patches: [{source: clip9.mp4, range: 0-9}]", "range=0-9 is not in its frames 0 to 8; nearest: range=0-8"),
    (HEAD + "patches: [{source: clip9.mp4, range: [3]}]", "range=[3]"),
    (HEAD + "patches: [{source: clip9.mp4, range: 8-3}]", "range=8-3 must not end before it begins; nearest: 3-8"),
    (HEAD + "patches: [{source: clip9.mp4, range: -1-3}]", "range=-1-3"),
    (HEAD + "patches: [{source: clip9.mp4, range: [0, 2.5]}]", "range=2.5"),
    (HEAD + "patches: [{source: clip9.mp4, frame: 10}]", "past the end of a canvas of 17 frames; nearest: range=0-6"),
    (HEAD + "patches: [{source: clip9.mp4, frame: 10, as: clip}]", "nearest: range=0-4"),
    (HEAD + "patches: [{source: clip9.mp4, frame: 8.5}]", "nearest: range=0-7"),
    (HEAD + "patches: [{source: clip9.mp4, as: clip, range: 0-5}]", "nearest: range=0-4 or 0-8, or as=frames"),
    (HEAD + "patches: [{source: cat.png, mask: 3}]", "mask=3"),
    (HEAD + "patches: [{source: cat.png, mask: black.png}]", "cat.png@0: box, mask and alpha leave no pixel"),
    (HEAD + "patches: [{source: cat.png, mask: clear.png}]", "leave no pixel"),
    (HEAD + "patches: [{source: cat.png, mask: left.png, box: [0.6, 0, 1, 1]}]", "leave no pixel"),
    (HEAD + "patches: [{source: clear.png}]", "clear.png@0: box, mask and alpha leave no pixel"),
    (HEAD + "patches: [{source: cat.png, mask: lost.png}]", "lost.png does not exist"),
    (HEAD + "patches: [{source: cat.png, mask: clip9.mp4}]", "a mask is an image, or a clip of as many frames"),
    (HEAD + "patches: [{source: clip9.mp4, mask: clip17.mp4}]", "a mask is an image, or a clip of as many frames"),
    (HEAD + "patches: [{source: catt.png}]", "catt.png does not exist; did you mean cat.png?"),
    (HEAD + "patches: [{source: nowhere/cat.png}]", "nowhere/cat.png does not exist"),
    (HEAD + "patches: [{source: .}]", "is a folder"),
    (HEAD + "patches: [{source: notes.txt}]", "notes.txt is neither an image"),
    (HEAD + "patches: [{source: bare}]", "bare is neither an image"),
    (HEAD + "patches: [{source: empty.png}]", "empty.png"),
    (HEAD + "patches: [{source: text.png}]", "text.png"),
    (HEAD + "patches: [{source: cut.png}]", "cut.png"),
    (HEAD + "patches: [{source: cut.jpg}]", "cut.jpg"),
    (HEAD + "patches: [{source: bomb.png}]", "bomb.png"),
    (HEAD + "patches: [{source: empty.mp4}]", "empty.mp4"),
    (HEAD + "patches: [{source: text.mp4}]", "text.mp4"),
    (HEAD + "patches: [{source: cut.mp4}]", "cut.mp4"),
    (HEAD + "patches: [{source: noframes.mp4}]", "noframes.mp4"),
    (HEAD + "fps: 30\npatches: [{source: noise.mp4}]", "noise.mp4"),
    (HEAD + "patches: [cat.png]", "patches[0]: patch cat.png names no frame; write cat.png@0"),
    (
        HEAD + "patches: ['cat.png@2:boxx=1']",
        "boxx of patch cat.png@2:boxx=1 is no option; known: box, mask, as, range, fit",
    ),
]

# The command line's form of a patch.
PATCHES = [
    ("cat.png", "patch cat.png names no frame; write cat.png@0"),
    ("rat.png", "patch rat.png must be SOURCE@FRAME"),
    ("", "patch '' must be"),
    ("@3", "patch @3 must be"),
    ("cat.png@", "frame='' of patch cat.png@"),
    ("cat.png@first", "frame=first"),
    ("cat.png@0:cover", "frame=0:cover"),
    ("cat.png@nan", "frame=nan"),
    ("cat.png@inf", "frame=inf"),
    ("cat.png@17", "frame=17"),
    ("cat.png@0:box=8,4,40,20", "as shares of the canvas and not in pixels"),
    ("cat.png@0:boxes=1", "boxes of patch cat.png@0:boxes=1 is no option; known: box, mask, as, range, fit"),
    ("cat.png@0:box=0,0,1", "box=[0.0, 0.0, 1.0]"),
    ("cat.png@0:box=a,b,c,d", "box=a,b,c,d"),
    ("cat.png@0:box=", "box=''"),
    ("cat.png@0:box=nan,0,1,1", "box=[nan, 0.0, 1.0, 1.0]"),
    ("cat.png@0:box=0,0,1,1:box=0,0,1,1", "gives box twice"),
    ("cat.png@0:frame=3", "frame of patch cat.png@0:frame=3 is no option"),
    ("cat.png@0:mask=", "mask=''"),
    ("cat.png@0:as=video", "as=video"),
    ("clip9.mp4@0:range=3", "range=3 must be FIRST-LAST"),
    ("clip9.mp4@0:range=a-b", "range=a-b"),
    ("cat\n.png@0", "does not exist"),
]

# What only Python can ask for.
CALLS = [
    (lambda: Patch(None), "source=None"),
    (lambda: Patch(np.zeros((4, 4, 3), np.float32)), "float32 [4, 4, 3]"),
    (lambda: Patch(np.zeros((4, 4), np.uint8)), "uint8 [4, 4]"),
    (lambda: Patch(np.zeros((0, 4, 3), np.uint8)), "uint8 [0, 4, 3]"),
    (lambda: Patch("cat.png", mask=np.zeros((4, 4), bool)), "bool [4, 4]"),
    (lambda: Patch("cat.png", frame=None), "frame=None"),
    (lambda: Patch("cat.png", frame=-math.inf), "frame=-inf"),
    (lambda: Patch("cat.png", box=(0, 0, 1, True)), "box=(0, 0, 1, True)"),
    (lambda: Patch("a\0.png"), "source='a\\x00.png'"),
    (lambda: Canvas(17, 32, 64, patches=["cat.png@0"]), "patches=['cat.png@0']"),
    (lambda: Canvas(17, 32, 64, patches=None), "patches=None"),
    (lambda: Canvas(17, "32", 64), "height=32"),
    (lambda: Canvas(17, 32, math.nan), "width=nan"),
    (lambda: Canvas.from_dict(None), "must be a mapping"),
]


def with_size(png: bytes, side: int) -> bytes:
    """A PNG whose header says that it is a square of this side."""
    header = b"IHDR" + struct.pack(">II", side, side) + png[24:29]
    return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]


@pytest.fixture(scope="module")
def folder(media):
    """The media, and beside them every kind of file that is none."""
    (media / "notes.txt").write_text("notes")
    (media / "bare").write_text("notes")
    for name in ("empty.png", "empty.mp4"):
        (media / name).touch()
    for name in ("text.png", "text.mp4"):
        (media / name).write_text("not pixels\n" * 20)
    Image.open(media / "cat.png").save(media / "whole.jpg")
    for whole, cut in (("cat.png", "cut.png"), ("whole.jpg", "cut.jpg"), ("clip17.mp4", "cut.mp4")):
        content = (media / whole).read_bytes()
        (media / cut).write_bytes(content[: len(content) // 2])
    (media / "bomb.png").write_bytes(with_size((media / "cat.png").read_bytes(), 20000))
    random = np.random.default_rng(0)
    write_video(media / "noise.mp4", random.integers(0, 256, (9, 32, 64, 3), np.uint8), fps=15)
    content = bytearray((media / "noise.mp4").read_bytes())
    content[len(content) // 2 : -2500] = random.bytes(len(content) - len(content) // 2 - 2500)
    (media / "noise.mp4").write_bytes(content)
    # The smallest MP4: a file type and a movie with no track.
    boxes = b"\0\0\0\x14ftypisom\0\0\0\0isom", b"\0\0\0\x74moov\0\0\0\x6cmvhd" + bytes(100)
    (media / "noframes.mp4").write_bytes(b"".join(boxes))
    return media


def complete(canvas: Canvas) -> None:
    validate(canvas, temporal_stride=4, size_multiple=32)
    place(canvas, temporal_stride=4)


def fails_in_one_line(call, names: str, capfd) -> None:
    with pytest.raises(SystemExit) as stop:
        exit_on_input_error(call)
    error = capfd.readouterr().err
    assert stop.value.code == 2
    assert error.startswith("error: ") and error.count("\n") == 1 and error.endswith("\n")
    assert names in error


@pytest.mark.parametrize("text, names", SPECS, ids=range(len(SPECS)))
def test_yaml(folder, text, names, capfd):
    (folder / "canvas.yaml").write_text(text)
    fails_in_one_line(lambda: complete(Canvas.from_yaml(folder / "canvas.yaml")), names, capfd)


@pytest.mark.parametrize("text, names", PATCHES, ids=range(len(PATCHES)))
def test_patch_text(folder, text, names, capfd):
    fails_in_one_line(lambda: complete(Canvas(17, 32, 64).add(parse_patch(text, base=folder))), names, capfd)


@pytest.mark.parametrize("call, names", CALLS, ids=range(len(CALLS)))
def test_python(call, names, capfd):
    fails_in_one_line(call, names, capfd)


@pytest.mark.parametrize("name, names", [("lost.yaml", "No such file"), (".", "Is a directory"), ("cat.png", "UTF-8")])
def test_spec_files(folder, name, names, capfd):
    fails_in_one_line(lambda: Canvas.from_yaml(folder / name), names, capfd)


def test_a_file_that_is_too_large_for_a_spec(tmp_path, capfd):
    (tmp_path / "film.yaml").write_bytes(bytes(2**20 + 1))
    fails_in_one_line(lambda: Canvas.from_yaml(tmp_path / "film.yaml"), "1048577 bytes", capfd)
