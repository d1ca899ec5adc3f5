import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vgen.data.shares import run_shares


@dataclass(frozen=True)
class Squares:
    """Writes the square of each row's number; row 5 is bad; the process ends before row `fatal`, as if killed."""

    folder: Path
    fatal: int = -1

    def open(self, device):
        assert device == torch.device("cpu")

        def encode(rows):
            if self.fatal in rows:
                os._exit(9)
            for row in rows:
                (self.folder / f"row-{row}").open("a").write(f"{row**2}\n")
            return {row: "five" for row in rows if row == 5}

        return encode


def written(folder):
    return {int(path.name[4:]): path.read_text() for path in folder.glob("row-*")}


def test_every_row_is_done_and_bad_ones_are_told(tmp_path):
    assert run_shares(tmp_path, 11, Squares(tmp_path), 3, 1, "squares") == {5: "five"}
    assert written(tmp_path) == {row: f"{row**2}\n" for row in range(11)}
    assert run_shares(tmp_path, 11, Squares(tmp_path, fatal=0), 3, 1, "squares") == {5: "five"}  # nothing is left to do


def test_what_was_done_before_a_kill_is_not_done_again(tmp_path):
    child = os.fork()
    if not child:
        run_shares(tmp_path, 12, Squares(tmp_path, fatal=8), 2, 1, "squares")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert len(written(tmp_path)) == 8
    assert run_shares(tmp_path, 12, Squares(tmp_path), 3, 1, "squares") == {5: "five"}  # with other shares
    assert written(tmp_path) == {row: f"{row**2}\n" for row in range(12)}


def test_a_reason_that_broke_off_is_no_stop(tmp_path):
    run_shares(tmp_path, 6, Squares(tmp_path), 3, 1, "squares")
    (tmp_path / "bad.jsonl").write_text('\n[5, "fi')
    state = np.lib.format.open_memmap(tmp_path / "state.npy", mode="r+")
    state[3:] = 0  # which was not noted any more
    state.flush()
    assert run_shares(tmp_path, 6, Squares(tmp_path), 3, 1, "squares") == {5: "five"}
