"""The fuzzer finds what it is there for, repeats a case exactly, and passes what is right."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import fuzz_inputs
import numpy as np
import pytest
from fuzz_suite import cases, child, damage, structure
from fuzz_suite.cases import FuzzCase, Setup
from fuzz_suite.child import Child
from fuzz_suite.media import picture, write_images
from fuzz_suite.seeds import Seeds, write_data, write_hands, write_spec
from fuzz_suite.traps import TRAPS, Bait, Payload
from fuzz_suite.verdict import Verdict, judge, snapshot
from PIL import Image

from vgen.errors import InputError


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """The quick ones."""
    folder = tmp_path_factory.mktemp("seeds") / "seeds"
    write_images(folder / "images")
    write_hands(folder / "hands")
    write_spec(folder / "spec")
    write_data(folder / "data")
    return Seeds(folder)


@pytest.fixture
def finish(tmp_path):
    """Runs a function as a command in a child; the verdict and how it ended."""

    def run(main, seconds=20.0, made=(), refused=False):
        folder = tmp_path / f"case-{len(list(tmp_path.iterdir()))}"
        (folder / "in").mkdir(parents=True)
        (folder / "in" / "a.txt").write_text("a")
        before = snapshot(folder / "in")
        one = Child(main, "infer", ["--out", "out"], folder, seconds)
        while (outcome := one.poll()) is None:
            time.sleep(0.005)
        case = FuzzCase(0, "kind", "how", Setup("infer", (), [], made), refused)
        return judge(case, outcome, folder, before, []), outcome

    return run


def refuse(message="size=3 must be 4"):
    raise InputError(message)


def half_written():
    Path("out").mkdir()
    refuse()


def change_the_input():
    Path("in/a.txt").write_text("b")
    refuse()


def two_lines():
    sys.stderr.write("error: one\nand more\n")
    sys.exit(2)


def warn_first():
    sys.stderr.write("told\rvideo:  50%|###  | 1/2\nwarned\n")
    refuse()


def fill_memory():
    bytearray(2 * child.MEMORY)


def write_much():
    with open("out", "wb") as file:
        file.truncate(2 * child.WRITTEN)


def wait():
    time.sleep(60)


def work():
    while True:
        pass


def call_out():
    socket.create_connection(("127.0.0.1", 9))


def call_out_quietly():
    try:
        call_out()
    except PermissionError:
        refuse()


def result(name="out/video.mp4", content=b"video"):
    Path("out").mkdir()
    Path(name).write_bytes(content)


MADE = ("out/video.mp4",)
ENDS = [
    (refuse, "refused", []),
    (warn_first, "refused", []),
    (lambda: refuse("a\nb\x1b"), "refused", []),  # which the command writes as one line
    (result, "ok", []),
    (lambda: None, "finding", ["out/video.mp4 is missing"]),
    (lambda: result(content=b""), "finding", ["out/video.mp4 is empty"]),
    (lambda: [][0], "finding", ["exit code 1", "a traceback"]),
    (lambda: sys.exit(3), "finding", ["exit code 3"]),
    (lambda: sys.exit(2), "finding", ["no message"]),
    (two_lines, "finding", ["a message of 2 lines"]),
    (lambda: refuse("x" * 5000), "finding", ["a message of 5000 characters"]),
    (half_written, "finding", ["left out"]),
    (change_the_input, "finding", ["the inputs have changed"]),
    (lambda: os.kill(os.getpid(), signal.SIGSEGV), "finding", ["ended by SIGSEGV"]),
    (fill_memory, "finding", ["exit code 1", "a traceback"]),
    (write_much, "finding", ["exit code 1", "left out", "a traceback"]),
]


@pytest.mark.parametrize(("main", "name", "faults"), ENDS)
def test_how_a_command_ends(finish, main, name, faults):
    verdict, _ = finish(main, made=MADE)
    assert (verdict.name, verdict.faults) == (name, faults)


@pytest.mark.parametrize("main", [wait, work])
def test_a_command_that_does_not_end_is_ended(finish, main):
    verdict, outcome = finish(main, seconds=0.3)
    assert outcome.timed_out and verdict.faults == ["no end after 0 s"]


@pytest.mark.parametrize(
    "main", [call_out, call_out_quietly, lambda: os.system("true"), lambda: subprocess.run("true")]
)
def test_what_goes_out_is_stopped_and_noted(finish, main):
    verdict, outcome = finish(main)
    assert len(outcome.watched) == 1 and verdict.faults[0] == f"tried {outcome.watched[0]}"


def test_what_must_be_refused_and_is_not_is_found(finish):
    assert finish(result, refused=True)[0].faults == ["was not refused"]


def test_a_bait_tells_what_was_taken(tmp_path, seeds):
    shutil.copytree(seeds.folder, tmp_path / "seeds")
    (tmp_path / "seeds" / "videos").mkdir()
    (tmp_path / "seeds" / "videos" / "h264.mp4").write_bytes(b"video")
    bait = Bait(tmp_path / "bait")
    bait.lay(Seeds(tmp_path / "seeds"))
    assert bait.taken() == []
    Payload(bait.marker).__reduce__()[0](*Payload(bait.marker).__reduce__()[1])
    with socket.create_connection(tuple(bait.named("{url}").removeprefix("http://").split(":"))):
        assert bait.taken() == ["code from the input ran", "a host was called"]
    bait.image.read_bytes()
    assert "secret.png was read" in bait.taken()
    bait.close()


def kinds():
    own = {each for each_of in structure.STRUCTURED.values() for each in each_of}
    return sorted({*damage.BYTES, *damage.PLACES, damage.png_sizes, *own}, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", kinds())
def test_every_damage_can_be_done_and_is_the_same_again(tmp_path, seeds, kind):
    suffixes = [suffix for suffix, own in structure.STRUCTURED.items() if kind in own] or [".png", ".parquet", ".json"]
    files = [file for file in seeds.small() if file.suffix in suffixes] or [tmp_path / f"a{suffixes[0]}"]
    if not files[0].exists():
        write_other(files[0])
    changed = 0
    for number in range(24):
        source, made = files[number % len(files)], []
        for attempt in range(2):
            target = tmp_path / f"{attempt}" / source.name
            target.parent.mkdir(exist_ok=True)
            shutil.copy(source, target)
            kind(target, Random(number), seeds.small())
            made.append(list(snapshot(tmp_path / f"{attempt}").values()))
            changed += made[0] != [next(iter(snapshot(source.parent).values()))] and not (
                target.is_file() and target.read_bytes() == source.read_bytes()
            )
            shutil.rmtree(target.parent)
        assert made[0] == made[1], number
    assert changed >= 24  # of 48: some change nothing, as a repeated block of no bytes


def write_other(file):
    """A small file of a format that is not among the quick seeds."""
    if file.suffix == ".safetensors":
        from safetensors.numpy import save_file

        save_file({"a.lora_A.weight": np.ones((2, 3), np.float32), "b": np.ones(4, np.float32)}, file)
    elif file.suffix == ".npy":
        np.save(file, np.zeros((3, 4)))
    elif file.suffix == ".csv":
        file.write_text("file_name,text\na.mp4,one\nb.mp4,two\n")
    else:
        file.write_text('{"file_name": "a.mp4", "text": "one"}\n\n0a1b2c3d {"b": [1]}\n')


def test_a_case_follows_from_its_seed_and_number(tmp_path, seeds):
    (seeds.folder / "videos").mkdir(exist_ok=True)
    Image.fromarray(picture(0)).save(seeds.folder / "videos" / "h264.mp4", "PNG")
    made = {}
    for attempt in range(2):
        for number in range(60):
            chance, folder = Random(f"5 {number}"), tmp_path / f"{attempt}-{number}"
            (folder / "in").mkdir(parents=True)
            maker = [cases.image, cases.spec, cases.hand, cases.dataset][number % 4]
            setup = maker(chance, seeds, folder, lambda *_: None)
            how = cases._damaged(setup.targets, chance, seeds, folder)
            held = {name.removeprefix(str(folder)): kept for name, kept in snapshot(folder / "in").items()}
            made.setdefault(number, []).append((how, setup.command, setup.options, comparable(held)))
    assert all(first == second for first, second in made.values())
    assert len({how for (how, *_), _ in made.values()}) > 30


def comparable(held):
    """Without archives and tables, whose writers put the time or the order of a dictionary in."""
    return {name: kept for name, kept in held.items() if not name.endswith((".npz", ".parquet"))}


def test_every_trap_has_a_name_of_its_own():
    assert len({trap.name for trap in TRAPS}) == len(TRAPS) > 40


def test_it_runs_and_says_what_was_found():
    script = Path(fuzz_inputs.__file__)  # in a process of its own, whose children inherit nothing of other tests
    command = [sys.executable, str(script), "--count", "8", "--seed", "1", "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": str(script.parents[1])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert done.stdout.splitlines()[-1].split()[:2] == ["all", "8"]


def test_findings_are_counted_and_told():
    results = []
    for number, name in enumerate(("ok", "refused", "refused", "finding")):
        case = FuzzCase(number, "image" if number else "spec", "how", Setup("infer", ("--out", "out"), []))
        faults = ["a traceback"] if name == "finding" else []
        results.append(fuzz_inputs.FuzzResult(case, Verdict(name, faults, "KeyError"), Path()))
    lines = [line.split() for line in fuzz_inputs.table(results).splitlines()[1:]]
    assert lines == [["image", "3", "0", "2", "1"], ["spec", "1", "1", "0", "0"], ["all", "4", "1", "2", "1"]]
    said = fuzz_inputs.told(results[3], 7)
    assert "FINDING 3: image, how" in said and "a traceback" in said and "--seed 7 --only 3" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--count", "0"], "--count 0 must be 1 or more"), (["--keep", "."], "exists"), (["--cuont", "3"], "--cuont")],
)
def test_wrong_options(monkeypatch, options, words):
    monkeypatch.setattr(sys, "argv", ["fuzz_inputs.py", *options])
    with pytest.raises(InputError, match=words):
        fuzz_inputs.parse()
