import logging

import pytest

from vgen.data.captions import list_videos
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
    assert shown(list_videos(folder)) == [("./b.mp4", "a cat")]
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
    with pytest.raises(InputError, match=r"there is no video to train on: .* holds none of \.avi"):
        list_videos(tmp_path)
