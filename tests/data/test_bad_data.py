import json
import logging
from concurrent.futures import ThreadPoolExecutor

import pytest

from vgen.data.bad_data import BadData
from vgen.errors import InputError


def test_each_is_told_and_written_once(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    bad = BadData(100, 0.05, tmp_path / "run" / "bad_data.jsonl")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: bad.add(f"{n % 2}.mp4", "damaged"), range(40)))
    assert sorted(record.args[0] for record in caplog.records) == ["0.mp4", "1.mp4"]
    again = BadData(100, 0.05, bad.file)  # of a resumed run
    again.add("0.mp4", "damaged")
    again.add("2.mp4", "no caption")
    lines = [json.loads(line) for line in bad.file.read_text().splitlines()]
    assert sorted(line["name"] for line in lines) == ["0.mp4", "1.mp4", "2.mp4"]
    assert "0.mp4" in again and "9.mp4" not in again
    assert again.summary() == f"3 of 100 videos could not be used: 2 damaged, 1 no caption; see {bad.file}"


def test_lines_that_are_no_records_count_for_nothing(tmp_path):
    file = tmp_path / "bad_data.jsonl"
    whole = b'{"data": "", "name": "b.mp4", "reason": "damaged"}'
    file.write_bytes(b'5\n\xff\n{"name": "a"}\n[]\n\n' + whole + b'\n{"name": "c.mp')
    assert BadData(3, 1.0, file).summary() == f"1 of 3 videos could not be used: 1 damaged; see {file}"


def test_data_sets_share_a_file_and_not_their_episodes(tmp_path, caplog):
    file = tmp_path / "bad_data.jsonl"
    arm, hand = (BadData(4, 0.5, file, data) for data in ("arm", "hand"))
    for bad in (arm, hand, arm):
        bad.add("episode 1", "damaged")
    assert len(caplog.records) == len(file.read_text().splitlines()) == 2
    told = f"1 of 4 videos could not be used: 1 damaged; see {file}"
    assert arm.summary() == hand.summary() == BadData(4, 0.5, file, "hand").summary() == told


def test_names_with_any_character_are_found_again(tmp_path, caplog):
    for _ in range(2):
        bad = BadData(9, 1.0, tmp_path / "bad_data.jsonl")
        for name in ("a\u2028b", "a\x85b", "a\x0bb", "a\nb", "a\udce9b"):
            bad.add(name, "damaged")
    assert len(caplog.records) == 5 and len(bad.file.read_text().split("\n")) == 6


def test_too_many_stop_with_the_first_few():
    bad = BadData(10, 0.3)
    for number in range(3):
        bad.add(f"{number}.mp4", "damaged")
    with pytest.raises(InputError) as stopped:
        bad.add("3.mp4", "no caption")
    assert str(stopped.value) == (
        "4 of 10 videos cannot be used, more than data.max_bad_share=0.3: "
        "0.mp4 (damaged); 1.mp4 (damaged); 2.mp4 (damaged) ..."
    )


def test_none_is_said_too():
    assert BadData(4, 0.0).summary() == "all of 4 videos could be used"
