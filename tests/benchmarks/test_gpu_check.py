"""The checks of a GPU, with tiny shapes on the CPU, and how parts that fail are told."""

import json
from importlib import import_module

import gpu_check
import pytest
import torch
from gpu_suite import agreement, wan_step
from gpu_suite.task import Task
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from vgen.backbone.segments import target
from vgen.backbone.transformer import VideoTransformer
from vgen.errors import InputError


@pytest.mark.parametrize("name", [name for name in gpu_check.CHECKS if name not in ("training", "compile")])
def test_a_toy_check_tells_finite_values(name, capsys):
    told = {}
    check = gpu_check.CHECKS[name]
    for part in check.parts:
        task = Task(part, toy=True, known={"tflops": 2.0})
        import_module(check.module).run(
            task, lambda name, line, **values: told.update({name: {"line": line, **values}})
        )
    assert told and all(values["line"] and "error" not in values for values in told.values())
    assert all(part in told for part in check.parts if part)
    json.dumps(told, allow_nan=False)


def test_flops_of_a_step_are_those_that_torch_counts():
    config = wan_step.TOY.transformer | {"num_attention_heads": 4, "ffn_dim": 256, "num_layers": 3}
    shape = wan_step.Shape(config, (3, 8, 8), 40)
    model = VideoTransformer(**config)
    noisy, text = torch.randn(1, 16, *shape.latent), torch.randn(1, shape.text, config["text_dim"])
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):  # the CPU's own kernel is not counted
        model([target(noisy, torch.ones(1))], text)
    assert wan_step.training_flops(shape, 3 * 4 * 4) == pytest.approx(3 * counter.get_total_flops(), rel=0.02)


def test_stages_of_zero_that_part_are_told():
    losses = {"zero0": {"losses": [2.0, 1.0]}, "zero1": {"error": "broke off"}, "zero2": {"losses": [2.0, 1.01]}}
    line, values = agreement.compare(losses)
    assert "zero0, zero2" in line and values == {"apart": pytest.approx(0.01)}
    line, values = agreement.compare(losses | {"zero3": {"losses": [2.0, 1.1]}})
    assert line.startswith("FAILED") and "error" in values


FAKES = {
    "well": "tell('one', 'one is well', seconds=task.known.get('tflops', 0))",
    "wrong": "tell('begun', 'begun', seconds=1); print('noise'); raise ValueError('two\\n lines')",
    "killed": "import os, sys; sys.stderr.write('out of luck\\n'); sys.stderr.flush(); os.abort()",
    "slow": "import time; time.sleep(60)",
    "device": "tell('matmul', 'product', tflops=7.0)",
}


@pytest.fixture
def fakes(tmp_path, monkeypatch):
    """Checks that are well, raise, take their process along or do not end; all begin after the device's."""
    for name, body in FAKES.items():
        (tmp_path / f"fake_{name}.py").write_text(f"def run(task, tell):\n    {body}\n")
    (tmp_path / "fake_missing.py").write_text("import no_such_package\n")
    names = ["device", "wrong", "killed", "missing", "slow", "well"]
    limits = {"slow": 0.3}
    made = {name: gpu_check.Check(f"fake_{name}", limits.get(name, 30)) for name in names}
    monkeypatch.setattr(gpu_check, "CHECKS", made)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_a_part_that_fails_is_a_line_and_the_next_one_runs(fakes, tmp_path, capsys):
    out = tmp_path / "gpu.json"
    with pytest.raises(SystemExit) as end:
        gpu_check.main(["--toy", "--out", str(out)])
    assert end.value.code == 1
    lines = [line.split("s  ", 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert [" ".join(line.split()) for line in lines] == [
        "device product",
        "wrong begun",
        "wrong wrong FAILED: ValueError: two lines",
        "killed killed FAILED: its process ended with -6: out of luck",
        "missing missing FAILED: ModuleNotFoundError: No module named 'no_such_package'",
        "slow slow FAILED: stopped after 0 s",
        "well one is well",
        "4 findings FAILED",
    ]
    record = json.loads(out.read_text())
    assert record["failures"] == 4 and record["checks"]["well"]["found"] == {"one": {"seconds": 7.0}}
    printed = record["checks"]["wrong"]["printed"]["wrong"]
    assert "noise" in printed and "Traceback" in printed and "printed" not in record["checks"]["well"]


def test_what_is_found_is_kept_before_the_end_and_no_part_begins_when_the_time_is_over(fakes, tmp_path, capsys):
    out = tmp_path / "gpu.json"
    with pytest.raises(SystemExit) as end:
        gpu_check.main(["--toy", "--minutes", "0", "--only", "well", "--out", str(out)])
    assert end.value.code == 0 and "well is left out, as the time is over" in capsys.readouterr().out
    assert json.loads(out.read_text())["checks"] == {}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "attentoin"], "--only=attentoin must be one of device, training"),
        (["--minutes", "-1"], "--minutes=-1 must lie in 0 to 10000; nearest: 0"),
    ],
)
def test_what_cannot_be_checked_is_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        gpu_check.main(arguments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_machine_without_a_gpu_is_refused_in_one_line():
    with pytest.raises(InputError, match=r"no GPU that torch can use; .*--toy"):
        gpu_check.check_device()
