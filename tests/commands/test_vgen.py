"""The command `vgen`: its subcommands, what they cost before they do anything, and what they refuse."""

import json
import subprocess
import sys
from importlib import import_module

import pytest

from vgen import commands, shipped
from vgen.commands import completion, info, options
from vgen.errors import InputError, exit_on_input_error
from vgen.inference.canvas import CANVAS_RUN

HEAVY = ("torch", "diffusers", "transformers")


def test_without_arguments_it_lists_its_subcommands(capsys):
    commands.main([])
    listed = capsys.readouterr().out
    commands.main(["--help"])
    assert capsys.readouterr().out == listed
    assert all(f"\n  {name} " in listed for name in commands.SUMMARIES)
    assert all(len(line) <= 100 for line in listed.splitlines())


def test_no_help_imports_torch():
    names = [[], *([name, "--help"] for name in commands.SUMMARIES), ["record", "adroit", "--help"], ["--version"]]
    code = (
        "import contextlib, sys\nfrom vgen.commands import main\n"
        f"for arguments in {names}:\n"
        "    with contextlib.suppress(SystemExit): main(arguments)\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["infr"], "'infr' is not in the commands of vgen; nearest: 'infer'"),
        (["--json", "info"], "--json stands before the command"),
        (["record", "metaworl"], "'metaworl' is not in the choices of SIMULATOR; nearest: 'metaworld'"),
        (["record", "adroit", "--out", "x", "--wokers", "2"], "'--wokers' is not in the options of vgen record"),
        (["bench", "canvs"], "'canvs' is not in the choices of NAME; nearest: 'canvas'"),
        (["infer", "--out", "x", "--stepz", "3"], "'--stepz' is not in the options of vgen infer; nearest: '--steps'"),
        (["rollout", "--mode", "foward"], "'foward' is not in the choices of --mode; nearest: 'forward'"),
        (["completion", "csh"], "'csh' is not in the choices of shell"),
        (["info", "nan"], "did you mean nano?"),
    ],
)
def test_what_is_wrong_is_told_in_one_line_with_the_nearest(given, says, capsys):
    with pytest.raises(SystemExit) as ended:
        exit_on_input_error(lambda: commands.main(given))
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and says in error and error.count("\n") == 1


@pytest.mark.parametrize("name", commands.SUMMARIES)
def test_every_subcommand_has_a_parser_of_its_name(name):
    assert import_module(f"vgen.commands.{name}").parser().prog == f"vgen {name}"


def test_options_of_two_commands_are_the_same():
    of = {name: import_module(f"vgen.commands.{name}").parser()._option_string_actions for name in ("infer", "rollout")}
    for option in of["infer"].keys() & of["rollout"].keys() - {"--frames", "--fps", "--guidance"}:
        infer, rollout = (each[option] for each in of.values())
        assert (infer.help, infer.type, infer.metavar) == (rollout.help, rollout.type, rollout.metavar)


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_completion_names_subcommands_and_their_options(shell, capsys):
    completion.main([shell])
    script = capsys.readouterr().out
    for word in ("rollout", "metaworld", "counterfactuals", "guidance", "golden"):
        assert word in script
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_info_of_the_machine(capsys):
    info.main(["--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["versions"]["torch"] and told["models"] == ["nano"]
    assert told["attention"]["native"] == "runs here"
    assert "CUDA" in told["attention"]["xformers"]  # the tests run on the CPU
    info.main([])
    assert "deepspeed" in capsys.readouterr().out


def test_info_of_a_model(tiny_model, capsys):
    info.main([str(tiny_model), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["video"]["legal frames"] == "1 + 4k" and told["licence"] == "not said" and "ego" not in told
    from diffusers import WanTransformer3DModel

    transformer = WanTransformer3DModel.from_pretrained(tiny_model, subfolder="transformer")
    assert told["parameters"]["transformer"] == sum(weight.numel() for weight in transformer.parameters())


def test_info_of_nano(capsys):
    info.main(["nano", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["licence"] == "apache-2.0"
    assert told["ego"]["layouts"]["position4"] == {"columns": 4, "actions per second": 80.0}
    assert told["state"]["states"] == 2
    info.main(["nano"])
    assert "transformer" in capsys.readouterr().out


def test_patches_of_the_command_line_may_travel_with_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    patch = options.read_patch("configs/canvas/media/button_0.png@3:mask=configs/canvas/media/around_hole.png")
    media = shipped.folder("configs") / "canvas/media"
    assert (patch.source, patch.mask) == (str(media / "button_0.png"), str(media / "around_hole.png"))
    assert options.read_patch("cat.png@0").source == "cat.png"


def test_other_options_beside_from_are_refused(tmp_path):
    given = {"from": str(tmp_path / "run.json"), "out": "x"}
    with pytest.raises(InputError, match="cannot read the run"):  # so far it comes with these alone
        options.read_earlier(CANVAS_RUN, given, "run")
    with pytest.raises(InputError, match=r"leave out --negative-prompt"):
        options.read_earlier(CANVAS_RUN, given | {"negative_prompt": "x"}, "run")
