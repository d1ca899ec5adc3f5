import json
import os
import re

import pytest
import torch
import train_speed

from vgen.errors import InputError


@pytest.fixture(autouse=True)
def process_settings():
    """Training changes settings of its whole process; the other tests keep theirs."""
    threads, environment = torch.get_num_threads(), dict(os.environ)
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)
    os.environ.clear()
    os.environ.update(environment)


def test_both_loops_are_measured_on_the_same_tokens(tmp_path, capsys):
    out = tmp_path / "speed.json"
    own = ["objective.batch=1", "objective.clips=2", "accumulation=2"]
    train_speed.main(["--steps", "5", "--warmup", "2", "--repeats", "1", "--out", str(out), *own])
    results = json.loads(out.read_text())
    speeds, ratio = results["per_s"], results["ratio"]
    assert results["unit"] == "tokens" and ratio == pytest.approx(speeds["vgen"] / speeds["plain"], rel=1e-4)
    assert 0 <= results["wait_share"] < 1 and results["start_up_s"] > 0 and results["checkpoint_s"] > 0
    assert results["checkpoint_mb"] > 3 * 18  # weights of 18 MB, two moments; the average comes on top
    printed = re.search(r"ratio ([\d.]+) \(", capsys.readouterr().out)
    assert printed and float(printed[1]) == pytest.approx(ratio, abs=1e-3)  # the file keeps one figure more


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--steps", "4", "--warmup", "2"], "leaves too little"),
        (["--repeats", "0"], "must be 1 or more"),
        (["sequence_parallel_size=2"], "nearest: 1"),
        (["stepps=2"], "nearest: 'steps'"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        train_speed.main(arguments)
