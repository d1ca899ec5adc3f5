"""Ranks of one machine that end with the process which starts them."""

import socket
import subprocess
import sys

import pytest
from launched import OURS

from vgen.errors import RunStopped
from vgen.reproduce import ranks

RANK = """
import sys
from pathlib import Path
from vgen.train.distributed import end_rank, start
ranks = start(1)
(Path(sys.argv[1]) / str(ranks.rank)).write_text(str(ranks.agree(ranks.rank + 1)))
end_rank()
"""


@pytest.fixture
def started(monkeypatch, tmp_path):
    """What is started instead of `vgen train` of a recipe: rank.py or, where that is not there, nothing."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/bash\nexec {sys.executable} "{tmp_path}/rank.py" "{tmp_path}"\n')
    python.chmod(0o755)
    monkeypatch.setattr(ranks.sys, "executable", str(python))
    for name in OURS:
        monkeypatch.delenv(name, raising=False)
    return lambda: ranks.train_on_ranks(tmp_path / "recipe.yaml", [], 2, tmp_path / "model", lambda: None)


def test_no_other_program_gets_the_port_at_which_they_meet(started, monkeypatch, tmp_path):
    (tmp_path / "rank.py").write_text(RANK)
    real, taken = subprocess.Popen, []

    def after_another(command, env, **keys):
        with socket.socket() as other:
            try:
                other.bind(("", int(env["MASTER_PORT"])))
                other.listen()
                taken.append(other.dup())
            except OSError:  # as it must be: somebody listens there
                pass
        return real(command, env=env, **keys)

    monkeypatch.setattr(ranks.subprocess, "Popen", after_another)
    try:
        assert started() == "" and not taken
    finally:
        for other in taken:
            other.close()
    assert [(tmp_path / str(rank)).read_text() for rank in (0, 1)] == ["[3.0]"] * 2


def test_a_rank_that_fails_ends_the_others(started):
    with pytest.raises(RunStopped, match="recipe: its training has failed"):
        started()
