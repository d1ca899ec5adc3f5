import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from vgen.data.shares import run_shares
from vgen.errors import InputError, TryAgain


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
    whole = (tmp_path / "bad.jsonl").read_text()
    (tmp_path / "bad.jsonl").write_text(whole[:-3])
    (tmp_path / "state.bin").write_bytes(bytes([1] * 3 + [0] * 3))  # the rest was not noted any more
    assert run_shares(tmp_path, 6, Squares(tmp_path), 3, 1, "squares") == {5: "five"}


@dataclass(frozen=True)
class Refusing:
    """Refuses the row `fatal`, or is ended before it, as for want of memory."""

    fatal: int
    killed: bool = False

    def open(self, device):
        def encode(rows):
            if self.fatal in rows and self.killed:
                os.kill(os.getpid(), 9)
            if self.fatal in rows:
                raise InputError(f"row {self.fatal} is not to be had")
            return {}

        return encode


def test_what_one_of_several_processes_refuses_is_said_in_its_words(tmp_path):
    with pytest.raises(InputError, match="^row 3 is not to be had$"):
        run_shares(tmp_path, 4, Refusing(3), 1, 2, "rows")
    with pytest.raises(TryAgain, match=r"was ended from outside \(SIGKILL\), as for want of memory; what is done is kept"):
        run_shares(tmp_path / "other", 4, Refusing(3, killed=True), 1, 2, "rows")


def test_a_folder_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        run_shares(tmp_path / "file", 4, Refusing(9), 1, 1, "rows")
