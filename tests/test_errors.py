"""What a command says of a wrong input: one line that a terminal can show."""

import argparse
import os
import signal
import subprocess
import sys

import pytest

from vgen.errors import InputError, Parser, RunStopped, TryAgain, exit_on_input_error, unknown_key
from vgen.results import VIDEO_RUN, results_folder


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("size=3 must be 4", "size=3 must be 4"),
        ("ü 😀 stay", "ü 😀 stay"),
        ("a\nb\r\u2028c", r"a\nb\r\u2028c"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\u202egnp.npz", r"\u202egnp.npz"),
        ("\udcff", r"\udcff"),
    ],
)
def test_a_message_is_one_line_without_signs_that_a_terminal_obeys(capsys, message, line):
    def main():
        raise InputError(message)

    with pytest.raises(SystemExit) as caught:
        exit_on_input_error(main)
    assert caught.value.code == 2 and capsys.readouterr().err == f"error: {line}\n"


@pytest.mark.parametrize(("error", "code"), [(InputError, 2), (RunStopped, 1), (TryAgain, 75)])
def test_the_exit_code_says_what_is_to_be_done(capsys, error, code):
    def main():
        raise error("a\nb")

    with pytest.raises(SystemExit) as caught:
        exit_on_input_error(main)
    assert caught.value.code == code and capsys.readouterr().err == "error: a\\nb\n"


def test_a_name_that_no_file_can_have_is_a_wrong_input(capsys, tmp_path):
    with pytest.raises(SystemExit) as caught:
        exit_on_input_error(lambda: (tmp_path / ("x" * 5000)).stat())
    said = capsys.readouterr().err
    assert caught.value.code == 2 and len(said) < 250 and "is too long for the name of a file" in said
    with pytest.raises(FileNotFoundError):
        exit_on_input_error(lambda: (tmp_path / "x").stat())


def test_a_name_that_is_too_long_is_cut():
    assert len(str(unknown_key("x" * 5000, ["frames", "size"], "the canvas"))) < 250
    assert "nearest: 'frames'" in str(unknown_key("frame", ["frames", "size"], "the canvas"))


@pytest.mark.parametrize("options", [["--with", "a", "b"], ["--with", "a", "--with", "b"], ["--with=a", "--with=b"]])
@pytest.mark.parametrize("default", [[], ["c"], None, argparse.SUPPRESS])
def test_values_of_an_option_that_is_given_again_add_up(options, default):
    parser = Parser()
    parser.add_argument_group("parts").add_argument("--with", dest="parts", nargs="*", default=default)
    parser.add_argument("--out", default="x")
    assert parser.parse_args([*options, "--out", "y", "--out", "z"]) == argparse.Namespace(parts=["a", "b"], out="z")
    assert getattr(parser.parse_args([]), "parts", argparse.SUPPRESS) == default


OPTIONS = ("--model", "--mode", "--edit", "--frames", "--size", "--seed", "--steps", "--out")


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ("--sed", "--seed"),
        ("--frame", "--frames"),
        ("--num-frames=9", "--frames"),
        ("--modell", "--model"),
        ("--ot", "--out"),
        ("--output", "--out"),
        ("--hlep", "--help"),
        ("--height", None),
        ("--heigth", None),
        ("--zzz", None),
    ],
)
def test_an_option_that_there_is_not_is_answered_with_one_like_it_or_with_all(given, nearest):
    parser = Parser("vgen infer", allow_abbrev=False)
    for name in OPTIONS:
        parser.add_argument(name)
    with pytest.raises(InputError) as caught:
        parser.parse_args([given, "3"])
    hint = f"nearest: '{nearest}'" if nearest else f"known: --help, {', '.join(OPTIONS)}"
    assert str(caught.value) == f"'{given.split('=')[0]}' is not in the options of vgen infer; {hint}"


def test_sigterm_ends_a_command_as_an_exception_does(tmp_path, capsys):
    before = signal.getsignal(signal.SIGTERM)

    def main():
        with results_folder(tmp_path / "out", VIDEO_RUN) as folder:
            (folder / "file").write_text("half")
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()

    with pytest.raises(SystemExit) as caught:
        exit_on_input_error(main)
    assert caught.value.code == 143 and not list(tmp_path.iterdir())
    assert capsys.readouterr().err == "terminated\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_command_whose_output_nobody_reads_ends_without_a_word():
    process = subprocess.Popen([sys.executable, "-m", "vgen", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait() == 141
