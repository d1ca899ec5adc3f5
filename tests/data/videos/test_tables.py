import csv
import json

import pytest

from vgen.data.videos.tables import read_rows
from vgen.errors import InputError


def rows(tmp_path, name, data):
    (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return [(row.line, row.values) for row in read_rows(tmp_path / name)]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_row_is_of_the_line_that_it_begins_in(tmp_path, end):
    lines = ["a,b", "", '1,"two', "", 'lines ""quoted"""', ",,", "2,x,", ' 3 , "y, z"', ""]
    assert rows(tmp_path, "t.csv", end.join(lines)) == [
        (3, {"a": "1", "b": f'two{end}{end}lines "quoted"'}),
        (7, {"a": "2", "b": "x"}),
        (8, {"a": "3 ", "b": "y, z"}),
    ]
    assert rows(tmp_path, "t.jsonl", end.join(["", '{"a": 1}', " \t", '{"b": {"c": []}}'])) == [
        (2, {"a": 1}),
        (4, {"b": {"c": []}}),
    ]


def test_what_the_standard_library_writes_is_read(tmp_path):
    odd = ['"', "a,b", "x\ny", "x\r\ny", "\u2028", "\x0b", "\x85\x1c", "", '5" pipe', "é"]
    with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["a", "b"], *([text, "-"] for text in odd)])
    assert [row.values["a"] for row in read_rows(tmp_path / "t.csv")] == odd
    for ascii_only in (True, False):
        text = "\n".join(json.dumps({"a": text}, ensure_ascii=ascii_only) for text in odd)
        assert [row["a"] for _, row in rows(tmp_path, "t.jsonl", text)] == odd


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file_has_no_rows(tmp_path, name, data):
    assert rows(tmp_path, name, data) == []


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("t.tsv", "", "t.tsv is neither .csv nor .jsonl"),
        ("t.csv", "a;b\n1;2\n", "line 1: its columns are separated by ';'; separate them by commas"),
        ("t.csv", "\na\tb\n1\t2\n", "line 2: its columns are separated by '\\t'; separate them by commas"),
        ("t.csv", "a,b,a\n1,2,3\n", "line 1: two columns are called a"),
        ("t.csv", "a,b\n1,2\n1,2,3\n", "line 3: 3 fields where the header has 2; a field with a comma needs quotes"),
        ("t.csv", "a,b\n\n1\n", "line 3: 1 field where the header has 2"),
        ("t.csv", 'a,b\n1,"x\n\ny"\n1,2,3\n', "line 5: 3 fields"),
        ("t.csv", 'a,b\n1,2\n1,"x\n3,4\n', "line 3: not CSV (a quote that is never closed"),
        ("t.csv", 'a,b\n1,"a "big" cat"\n', "line 2: not CSV (',' expected after '\"'; a quote inside quotes is"),
        ("t.csv", "a,b\n1," + "x" * 200_000, "line 2: not CSV (a quote that is never closed, or a field without end)"),
        ("t.csv", "a,b\r1,2\r3,4\r", "line 1: not CSV (a carriage return without a line feed"),
        ("t.csv", "a,b\n1,2\r3,4\n", "line 2: not CSV (a carriage return without a line feed"),
        ("t.csv", b"a,b\n1,2\n1,caf\xe9\n", "line 3: not UTF-8 but another encoding; save it as UTF-8"),
        ("t.csv", "a,b\n1,2\n".encode("utf-16"), "line 1: not UTF-8 but UTF-16; save it as UTF-8"),
        ("t.csv", b"a,b\n1,2\n1,\0\n", "line 3: a zero byte"),
        ("t.jsonl", '{"a": 1}\n{"a": \n', "line 2: not JSON (Expecting value, column"),
        ("t.jsonl", '{"a": 1}\r{"a": 2}\r', "line 1: not JSON (Extra data, column 10)"),
        ("t.jsonl", '[{"a": 1}]', "line 1: not an object"),
        ("t.jsonl", "5", "line 1: not an object"),
        ("t.jsonl", '{"a": 1, "b": 2, "a": 3}', "line 1: not JSON as it should be ('a' is there twice)"),
        ("t.jsonl", '{"a": ' + "[" * 100_000, "line 1: not JSON as it should be"),
        ("t.jsonl", '{"a": ' + "1" * 5000 + "}", "line 1: not JSON as it should be"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path, name, data, message):
    with pytest.raises(InputError) as refused:
        rows(tmp_path, name, data)
    assert message in str(refused.value) and name in str(refused.value) and str(refused.value).isprintable()
