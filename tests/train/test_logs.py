import errno
import json
import os
import re
import sys
import threading

import pytest
from PIL import Image
from tensorboard.summary.writer.record_writer import RecordWriter

from vgen.train.logs import Log, TensorBoard


def test_a_terminal_gets_a_line_that_follows_every_step(run, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr("tqdm.tqdm.mininterval", 0.0, raising=False)
    run(steps=3, log_every=2)
    last = capsys.readouterr().err.replace("\r", "\n").strip().splitlines()[-1]
    assert "3/3" in last
    values = dict(re.findall(r"(\w+)=([\d.e+-]+)", last))
    assert {"loss", "lr", "tokens_per_s", "samples_per_s", "wait_share", "memory_gb"} <= values.keys()
    assert float(values["tokens_per_s"]) == pytest.approx(2 * float(values["samples_per_s"]), rel=1e-3)


def test_elsewhere_there_is_none(run, capsys):
    run(steps=3)
    assert "loss=" not in capsys.readouterr().err


def test_a_log_goes_on_after_a_kill(tmp_path):
    first = Log(tmp_path, 0)
    for step in (1, 2, 3):
        first.write(step, {"loss": step / 3})
    first.close()
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"kind": "train", "step": 4, "loss"')  # as the kill left it
    second = Log(tmp_path, 2)
    second.write(3, {"loss": 1.0})
    second.close()
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(record["step"], record["loss"]) for record in records] == [(1, 1 / 3), (2, 2 / 3), (3, 1.0)]


def test_a_record_that_is_damaged_is_left_out_and_told(tmp_path, caplog):
    first = Log(tmp_path, 0)
    for step in (1, 2, 3):
        first.write(step, {"loss": step / 3})
    first.close()
    whole = (tmp_path / "log.jsonl").read_bytes()
    for harm in (b'"step": 2x', b'"step": "2"', b"\xff"):
        (tmp_path / "log.jsonl").write_bytes(whole.replace(b'"step": 2', harm))
        caplog.clear()
        Log(tmp_path, 3).close()
        assert (tmp_path / "log.jsonl").read_bytes().splitlines() == [whole.splitlines()[k] for k in (0, 2)]
        assert [each.getMessage() for each in caplog.records] == [
            f"{tmp_path / 'log.jsonl'}: 1 of 3 entries are damaged, and left out"
        ]


def test_a_run_that_is_started_again_after_its_end_logs_nothing_twice(run):
    log = run(steps=2, log_every=1) / "log.jsonl"
    before = log.read_text()
    run(steps=2, log_every=1)
    assert log.read_text() == before


def test_what_a_disk_refuses_tensorboards_thread_is_raised_and_not_printed(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    printed = []
    monkeypatch.setattr(threading, "excepthook", printed.append)
    board = TensorBoard(tmp_path, 0)
    board.write(1, {"loss": 1.0}, "train")
    monkeypatch.setattr(RecordWriter, "write", full)
    with pytest.raises(OSError, match="No space left"):
        board.write(2, {"loss": 1.0}, "train")
    Image.new("RGB", (2, 2)).save(tmp_path / "contact_sheet.png")
    with pytest.raises(OSError, match="No space left"):
        board.show(2, "noise", tmp_path)
    assert not printed
    other = threading.Thread(target=full)
    other.start()
    other.join()
    assert [each.thread for each in printed] == [other]
