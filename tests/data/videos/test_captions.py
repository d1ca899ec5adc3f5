import logging
import os
import time
from pathlib import Path

import pytest

from vgen.data.videos.captions import list_videos
from vgen.errors import InputError


@pytest.fixture
def folder(tmp_path):
    for name in ("b.mp4", "a.MOV", "deep/c.webm", "notes.md"):
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "videos" / "b.txt").write_text("a cat\n  sleeps \n")
    (tmp_path / "videos" / "deep" / "c.txt").write_text("﻿été", encoding="utf-8")
    return tmp_path / "videos"


CASES = Path(__file__).parents[3] / "../shared/cases/captions"
ODD = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\x1dh\x1ei\xa0j"  # all of them are white space to str.split


def refused(folder, table):
    with pytest.raises(InputError) as error:
        list_videos(folder, table)
    message = str(error.value)
    assert "\n" not in message and message.isprintable() and len(message) < 500, message
    return message


def shown(videos):
    return [(video.name, video.caption) for video in videos]


def test_a_text_beside_each_video(folder):
    videos = list_videos(folder)
    assert shown(videos) == [("a.MOV", ""), ("b.mp4", "a cat sleeps"), ("deep/c.webm", "été")]
    assert videos[2].path == folder / "deep" / "c.webm"


@pytest.mark.parametrize("path", ["path", "video", "file_name"])
@pytest.mark.parametrize("caption", ["caption", "text", "prompt"])
def test_columns_have_the_names_in_use(folder, tmp_path, path, caption):
    table = tmp_path / "list.csv"
    table.write_text(f'id,{caption},{path}\n1,"a dog, ""Rex"",\nruns",deep/c.webm\n2,,b.mp4\n')
    assert shown(list_videos(folder, table)) == [("b.mp4", ""), ("deep/c.webm", 'a dog, "Rex", runs')]
    lines = tmp_path / "list.jsonl"
    lines.write_text(f'{{"{path}": "b.mp4", "{caption}": "a cat"}}\n\n{{"{path}": "lost.mp4", "{caption}": null}}\n')
    assert shown(list_videos(folder, lines)) == [("b.mp4", "a cat"), ("lost.mp4", "")]


def test_metadata_in_the_folder_is_found_and_what_it_leaves_out_is_counted(folder, caplog):
    caplog.set_level(logging.WARNING)
    (folder / "metadata.jsonl").write_text('{"file_name": "./b.mp4", "text": "a cat"}\n')
    assert shown(list_videos(folder)) == [("b.mp4", "a cat")]
    assert "2 videos below" in caplog.text and "metadata.jsonl does not list them" in caplog.text


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("list.csv", "file,caption\nb.mp4,x\n", "line 2: has none of the columns file_name, path, video; it has: file"),
        ("list.csv", "video,title\nb.mp4,x\n", "none of the columns caption, text, prompt; it has: video, title"),
        ("list.jsonl", '{"path": "b.mp4", "text": "x"}\n{"path": \n', "list.jsonl, line 2: not JSON"),
        ("list.jsonl", '["b.mp4"]\n', "line 1: not an object"),
        ("list.yaml", "", "neither .csv nor .jsonl"),
        ("list.csv", "path,text\n", "lists no video"),
        ("lost.csv", None, "lost.csv cannot be read"),
    ],
)
def test_what_is_wrong_with_a_list_is_said(folder, tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as refused:
        list_videos(folder, tmp_path / name)
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_no_folder_and_no_video(tmp_path):
    with pytest.raises(InputError, match=r"data\.videos=.* is no folder"):
        list_videos(tmp_path / "lost")
    with pytest.raises(InputError, match=r"there is no video to train on: .* holds none of \.3gp"):
        list_videos(tmp_path)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_alone_end_a_line(folder, tmp_path, end, mark):
    files = {
        tmp_path / "list.csv": f'file_name,caption{end}{end}b.mp4,{ODD}{end}a.MOV,"two{end}\t lines"{end}',
        tmp_path
        / "list.jsonl": f'{{"path": "b.mp4", "text": "{ODD}"}}{end} {end}{{"path": "a.MOV", "text": "two lines"}}',
    }
    for file, text in files.items():
        file.write_bytes((mark + text).encode())
        assert shown(list_videos(folder, file)) == [("a.MOV", "two lines"), ("b.mp4", ODD)]
    (folder / "b.txt").write_bytes(f"{mark} {ODD}{end}{end}".encode())
    assert shown(list_videos(folder))[1] == ("b.mp4", ODD)


@pytest.mark.skipif(not CASES.is_dir(), reason="the reported files are not here")
@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_reported_files_are_read(folder, name):
    assert shown(list_videos(folder, CASES / name)) == [("a.mp4", "a cat\u2028on a mat"), ("b.mp4", "a dog")]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "video,text\nb.mp4,x\nb.mp4,y\n", "line 3: names b.mp4 again, as line 2 does; keep one"),
        ("a.csv", "video,text\nb.mp4,x\ndeep/../b.mp4,y\n", "line 3: names b.mp4 again"),
        ("a.jsonl", '{"path": "b.mp4", "text": ""}\n\n{"path": "./b.mp4", "text": ""}', "line 3: names b.mp4 again"),
        ("a.csv", "video,text\n../b.mp4,x\n", "line 2: ../b.mp4 is not in"),
        ("a.csv", "video,text\n/etc/b.mp4,x\n", "line 2: /etc/b.mp4 is not in"),
        ("a.csv", "video,text\n..\\b.mp4,x\n", "line 2: ../b.mp4 is not in"),
        ("a.csv", "video,text\ndeep,x\n", "line 2: deep is a folder"),
        ("a.csv", "video,text\n.,x\n", "line 2: . is a folder"),
        ("a.csv", "video,text\n  ,x\n", "line 2: names no video"),
        ("a.jsonl", '{"path": null, "text": ""}', "line 1: names no video"),
        ("a.jsonl", '{"path": 5, "text": ""}', "line 1: path=5 must be text"),
        ("a.jsonl", '{"path": "b\\u0000.mp4", "text": ""}', "holds a zero byte"),
        ("a.jsonl", '{"path": "b.mp4", "text": ["a", "b"]}', "line 1: text=['a', 'b'] must be text"),
        ("a.jsonl", '{"path": "b.mp4", "text": {"en": "a"}}', "line 1: text={'en': 'a'} must be text"),
        ("a.jsonl", '{"path": "b.mp4", "text": 12}', "line 1: text=12 must be text"),
        ("a.jsonl", '{"path": "b.mp4", "text": true}', "line 1: text=True must be text"),
        ("a.jsonl", '{"path": "b.mp4", "text": "\\ud800"}', "line 1: text='\\ud800' must be text in UTF-8"),
        ("a.jsonl", '{"path": "b.mp4", "text": "a\\u0000"}', "holds a zero byte"),
    ],
)
def test_what_is_wrong_with_a_line_is_said(folder, tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    assert message in refused(folder, tmp_path / name)


def test_names_are_matched_kindly(folder, tmp_path):
    mac, list_made_elsewhere = "de\u0301ja\u0300.mp4", "d\u00e9j\u00e0.mp4"
    (folder / "deep" / mac).touch()
    (folder / "deep" / "déjà.txt").write_text("seen")
    (folder / "real.MP4").touch()
    assert shown(list_videos(folder))[-1] == ("real.MP4", "")
    assert (f"deep/{mac}", "seen") in shown(list_videos(folder))
    table = tmp_path / "list.csv"
    table.write_text(f"video, text\ndeep\\{list_made_elsewhere}, again\n{folder}/b.mp4 , cat\n")
    assert shown(list_videos(folder, table)) == [("b.mp4", "cat"), (f"deep/{mac}", "again")]
    table.write_text(f"video,text\ndeep/{mac},x\ndeep/{list_made_elsewhere},x\n")
    assert "names " in refused(folder, table) and "again, as line 2 does" in refused(folder, table)
    (tmp_path / "link").symlink_to(folder)
    table.write_text(f"video,text\n{folder}/b.mp4,x\n{tmp_path}/link/a.MOV,y\n")
    assert shown(list_videos(tmp_path / "link", table)) == [("a.MOV", "y"), ("b.mp4", "x")]


def test_a_linked_folder_gives_a_video_no_second_name(folder, tmp_path, caplog):
    (folder / "link").symlink_to(folder / "deep")
    table = tmp_path / "list.csv"
    table.write_text("video,text\nlink/c.webm,x\nb.mp4,x\na.MOV,x\n")
    assert [video.name for video in list_videos(folder, table)] == ["a.MOV", "b.mp4", "link/c.webm"]
    assert not caplog.records  # none is left out
    table.write_text("video,text\nlink/c.webm,x\ndeep/c.webm,x\n")
    assert "line 3: names deep/c.webm again, as line 2 does" in refused(folder, table)


def test_what_is_odd_in_a_list_is_told(folder, tmp_path, caplog):
    (folder / "metadata.csv").write_text("file_name,text,caption\nb.mp4,no,yes\n._b.mp4,,\n__MACOSX/b.mp4,,\n")
    (folder / "metadata.jsonl").write_text("")
    assert shown(list_videos(folder)) == [("b.mp4", "yes")]
    told = " | ".join(record.getMessage() for record in caplog.records)
    for words in (
        "metadata.csv is read, metadata.jsonl is not",
        "2 files of a Mac, such as ._b.mp4",
        "text is not read",
    ):
        assert words in told
    assert "2 videos below" in told and len(caplog.records) == 4


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ("ein Käfer".encode("latin-1"), "its .txt, line 1: not UTF-8 but another encoding; save it as UTF-8"),
        ("a\ncafé".encode("cp1252"), "its .txt, line 2: not UTF-8 but another encoding; save it as UTF-8"),
        ("a cat".encode("utf-16"), "its .txt, line 1: not UTF-8 but UTF-16; save it as UTF-8"),
        ("a cat".encode("utf-16-le"), "its .txt, line 1: a zero byte, which no text has; save it as UTF-8"),
        (b"  \n", ""),
        ("\u2028\xa0".encode(), ""),
    ],
)
def test_a_caption_that_cannot_be_read_is_a_fault(folder, data, fault):
    (folder / "b.txt").write_bytes(data)
    (video,) = (video for video in list_videos(folder) if video.name == "b.mp4")
    assert (video.caption, video.fault) == ("", fault)


def test_a_text_file_that_is_a_folder_is_no_caption(folder):
    (folder / "a.txt").mkdir()
    (folder / "b.txt").unlink()
    (folder / "b.txt").symlink_to(folder / "lost.txt")
    assert [(video.caption, video.fault) for video in list_videos(folder)[:2]] == [
        ("", ""),
        ("", "its .txt cannot be read: No such file or directory"),
    ]


def test_names_that_are_not_utf8_are_names(folder, tmp_path):
    name = os.fsdecode(b"caf\xe9.mp4")
    (folder / name).touch()
    (folder / os.fsdecode(b"caf\xe9.txt")).write_text("a café")
    assert (name, "a café") in shown(list_videos(folder))
    (tmp_path / "list.jsonl").write_text('{"path": "caf\\udce9.mp4", "text": "x"}')
    assert shown(list_videos(folder, tmp_path / "list.jsonl")) == [(name, "x")]


def test_a_long_list_is_read_in_short_time(folder, tmp_path):
    rows = [f"deep/{n}.mp4,a caption" for n in range(20_000)]
    (tmp_path / "list.csv").write_text("\n".join(["video,text", *rows]))
    began = time.perf_counter()
    assert len(list_videos(folder, tmp_path / "list.csv")) == 20_000
    assert time.perf_counter() - began < 10


def test_columns_are_known_in_any_case_and_other_tables_are_told(tmp_path, caplog):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "captions.csv").write_text("File_Name,Caption\na.mp4,a cat\n")
    assert [video.caption for video in list_videos(tmp_path)] == [""]
    assert "captions.csv is not read for captions; name it with data.captions" in caplog.text
    assert [video.caption for video in list_videos(tmp_path, tmp_path / "captions.csv")] == ["a cat"]
