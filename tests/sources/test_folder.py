import json
import re
from fractions import Fraction

import numpy as np
import pytest
from made_videos import Clip, make

from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.errors import InputError
from vgen.media.writing import write_video
from vgen.sources.conversion.convert import Conversion, convert
from vgen.sources.folder import DRIFT, GAPS, REPEATED, RETIMED, UNCOVERED
from vgen.sources.reading.csv_trajectory import layout_in, read_csv
from vgen.sources.reading.frames import VideoFrames
from vgen.sources.source import Reading
from vgen.trajectory.files import write_trajectory
from vgen.trajectory.layouts import LAYOUTS
from vgen.trajectory.trajectory import Trajectory

HEADER, FPS, FRAMES = "time,x,y,z,gripper", 10, 12
STATE = "observation.state"


def clip(folder, name="a.mp4", fps=FPS, count=FRAMES):
    """A video whose frame k is grey of 20 k."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    shade = (20 * np.arange(count)).astype(np.uint8)
    write_video(path, np.broadcast_to(shade[:, None, None, None], (count, 32, 48, 3)), fps)
    return path


def table(path, rows=None, header=HEADER):
    """A CSV file; by default a hand that moves by 0.1 m in 0.1 s along x."""
    if rows is None:
        rows = [f"{k / 10:.3f},{k / 10:.3f},0.5,{-k / 20},1" for k in range(FRAMES)]
    path.write_text("\n".join([header, *rows] if header else rows))
    return path


def run(folder, out, layout=None, fps=None, **more):
    return convert(Conversion("folder", Reading(folder, (), layout, fps, more), out, splits={}))


def first(out):
    dataset = LeRobotDataset(out)
    return dataset, dataset.episode(0), dataset.frames(0, "view").mean((1, 2, 3)) / 20


def reason(folder, out):
    """Why the one take of a folder is left out."""
    with pytest.raises(InputError, match="no take of ") as error:
        run(folder, out, "position4")
    return str(error.value)


def test_videos_with_tables_become_episodes_with_their_words_and_scenes(tmp_path):
    folder = tmp_path / "clips"
    for name in ("kitchen/a", "kitchen/b", "shed/c"):
        table(clip(folder, f"{name}.mp4").with_suffix(".csv"))
    (folder / "kitchen/a.txt").write_text("open the\ndrawer")
    report = convert(Conversion("folder", Reading(folder), tmp_path / "out", splits={"test": 0.5}))
    assert report.episodes == {"train": 2, "test": 1} and report.groups == {"train": 1, "test": 1}
    dataset, episode, shades = first(tmp_path / "out")
    assert dataset.info["features"][STATE]["info"]["layout"] == "position4" and dataset.fps == FPS
    assert (episode.task, episode.extra) == ("open the drawer", {"take": "kitchen/a", "group": "kitchen"})
    steps = np.arange(FRAMES)
    assert np.allclose(episode.columns[STATE], np.stack([steps / 10, steps * 0 + 0.5, -steps / 20, steps * 0 + 1], 1))
    assert np.allclose(shades, steps, atol=0.1)


def test_metadata_names_the_videos_their_words_and_their_groups(tmp_path, caplog):
    folder = tmp_path / "clips"
    for name in ("a", "b", "c"):
        table(clip(folder, f"{name}.mp4").with_suffix(".csv"))
    (folder / "metadata.csv").write_text("file_name,caption,group\na.mp4,one,p1\nb.mp4,two,p2\n")
    run(folder, tmp_path / "out")
    dataset = LeRobotDataset(tmp_path / "out")
    assert [(dataset.episode(i).task, dataset.episode(i).extra["group"]) for i in range(2)] == [
        ("one", "p1"), ("two", "p2")]  # fmt: skip
    (folder / "metadata.csv").unlink()
    caplog.clear()
    assert run(folder, tmp_path / "plain").groups == {"train": 3}
    assert "each video counts as a scene of its own" in caplog.text and "is not read for captions" not in caplog.text


def test_trajectories_of_vgen_itself_are_read_in_both_forms(tmp_path):
    folder, times = tmp_path / "clips", np.arange(25) / 20
    values = np.stack([times, times * 0, times * 2, times * 0 + 1], 1)
    for name in ("a.npz", "b.json"):
        clip(folder, name[:2] + "mp4")
        write_trajectory(folder / name, Trajectory(values, times, layout="position4"))
    assert run(folder, tmp_path / "out").frames == 24
    for i in range(2):
        state = LeRobotDataset(tmp_path / "out").episode(i).columns[STATE]
        assert np.allclose(state[:, 0], np.arange(FRAMES) / FPS, atol=1e-6)


def test_a_trajectory_that_says_no_layout_has_the_one_that_is_named(tmp_path):
    folder, times = tmp_path / "clips", np.arange(FRAMES) / FPS
    kept = {"values": np.ones((FRAMES, 4)), "times": times}
    np.savez(clip(folder, "a.mp4").with_suffix(".npz"), **kept)
    plain = {name: array.tolist() for name, array in kept.items()}
    clip(folder, "b.mp4").with_suffix(".json").write_text(json.dumps(plain))
    assert run(folder, tmp_path / "out", "position4").left_out == {}
    with pytest.raises(
        InputError, match=r"a.npz: no layout is said; name one with --layout, or in the file: hand_boxes"
    ):
        run(folder, tmp_path / "none")
    (folder / "b.json").write_text(json.dumps(plain | {"layout": "pose7", "values": np.ones((FRAMES, 7)).tolist()}))
    assert "b.json: the layout is pose7, not position4" in run(folder, tmp_path / "one", "position4").left_out["b"]


def test_only_frames_within_the_trajectory_are_taken_and_gaps_and_missing_values_are_not_valid(tmp_path):
    folder = tmp_path / "clips"
    rows = [f"{k / 20:.3f},{k / 20:.3f},0,0,1" for k in range(4, 19) if not 8 < k < 16]  # 0.2 to 0.9 s
    rows[1] = "0.250,,0,0,1"
    table(clip(folder).with_suffix(".csv"), rows)
    report = run(folder, tmp_path / "out")
    _, episode, shades = first(tmp_path / "out")
    assert np.allclose(shades, np.arange(2, 10), atol=0.1)  # frames at 0.2 to 0.9 s
    assert np.isnan(episode.columns[STATE]).any(1).tolist() == [False] * 3 + [True] * 3 + [False] * 2
    assert report.mended == {UNCOVERED: 4, GAPS: 3} and report.invalid == {STATE: 3}


def test_a_trajectory_that_lasts_longer_than_its_video_is_counted(tmp_path):
    folder = tmp_path / "clips"
    for name, last in (("a", 1.1), ("b", 1.3), ("c", 1.5)):  # seconds; the last frame is shown at 1.1
        clip(folder, f"{name}.mp4")
        table(folder / f"{name}.csv", [f"{last * k / 20},{k / 20},0,0,1" for k in range(21)])
    assert run(folder, tmp_path / "out").mended == {DRIFT: 1}


def test_a_delay_is_taken_from_the_times(tmp_path):
    folder = tmp_path / "clips"
    table(clip(folder).with_suffix(".csv"))
    run(folder, tmp_path / "out", delay="0.2")
    _, episode, shades = first(tmp_path / "out")
    assert np.allclose(episode.columns[STATE][:, 0], 0.2 + np.arange(10) / 10)
    assert np.allclose(shades, np.arange(10), atol=0.1)
    with pytest.raises(InputError, match="delay=soon is not a number of seconds"):
        run(folder, tmp_path / "none", delay="soon")


def test_videos_of_other_rates_are_brought_to_one_by_time(tmp_path):
    folder = tmp_path / "clips"
    for name, fps, count in (("a", 10, 12), ("b", 20, 24), ("c", 5, 6), ("d", Fraction(10000, 1001), 12)):
        clip(folder, f"{name}.mp4", fps, min(count, 13))
        table(folder / f"{name}.csv")
    report = run(folder, tmp_path / "out")
    dataset = LeRobotDataset(tmp_path / "out")
    shades = [np.round(dataset.frames(i, "view").mean((1, 2, 3)) / 20, 1).tolist() for i in range(4)]
    assert np.allclose(shades[0], range(12), atol=0.1) and np.allclose(shades[3], range(12), atol=0.1)
    assert np.allclose(shades[1], [0, 2, 4, 6, 8, 10, 12], atol=0.1)  # every second of 13
    assert np.allclose(shades[2][::2], range(6), atol=0.1) and len(shades[2]) == 11  # each twice, but the last
    assert np.allclose(dataset.episode(1).columns[STATE][:, 0], np.arange(7) / 10)
    assert np.allclose(dataset.episode(2).columns[STATE][:, 0], np.arange(dataset.episode(2).length) / 10)
    assert report.mended[RETIMED] == 12 and report.mended[REPEATED] > 3


def test_a_phone_video_of_a_variable_rate_keeps_picture_and_hand_together(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    nearly = [0, 95, 210, 290, 420, 500, 590, 720, 800, 890, 1010, 1100]  # ms, about 10 in a second
    uneven = [0, 40, 80, 330, 370, 400, 600, 640, 900, 940, 980, 1100]
    for name, times in (("a", nearly), ("b", uneven)):
        make(folder, name, Clip("mp4", "libx264", frames=12, times=times, tick=Fraction(1, 1000)))
        table(folder / f"{name}.csv", [f"{t / 1000},{t / 1000},0,0,1" for t in range(0, 1150, 50)])
    run(folder, tmp_path / "out", fps=10)
    dataset = LeRobotDataset(tmp_path / "out")
    a, b = dataset.episode(0), dataset.episode(1)
    assert np.allclose(a.columns[STATE][:, 0], np.array(nearly) / 1000, atol=1e-6)  # when each was taken
    assert np.allclose(b.columns[STATE][:, 0], np.arange(12) / 10, atol=1e-6)
    shown = [0, 2, 2, 3, 5, 6, 6, 7, 8, 8, 10, 11]  # nearest to 0, 100, 200 … ms
    pictures = VideoFrames(folder / "b.mp4", shown).read(0, 12)
    loss = np.abs(dataset.frames(1, "view").astype(int) - pictures).mean((1, 2, 3))
    assert loss.max() < 10  # of two other pictures 17 or more


FRAME_TIMES = np.arange(5) / 10


@pytest.mark.parametrize(
    "text",
    [
        "time,x,y,z,gripper\n0,1,2,3,0\n0.2,4,5,6,1\n",
        "Gripper , note,z,y,x,T\n0,hello,3,2,1,0\n1,,6,5,4,0.2\n",
        "frame,x,y,z,gripper\n0,1,2,3,0\n2,4,5,6,1\n",
        "t,px,py,pz,grip\n0,1,2,3,0\n0.2,4,5,6,1\n",
        "\ufeff0,1,2,3,0\r\n0.2,4,5,6,1\r\n",
    ],
)
def test_columns_are_found_by_name_or_in_the_layouts_order(tmp_path, text):
    (tmp_path / "a.csv").write_text(text, newline="")
    read = read_csv(tmp_path / "a.csv", "position4", FRAME_TIMES)
    assert read.times.tolist() == [0, 0.2] and read.values.tolist() == [[1, 2, 3, 0], [4, 5, 6, 1]]


def test_without_times_there_is_a_row_a_frame_and_missing_values_are_not_valid(tmp_path):
    rows = ["1,2,3,0", "nan,2,3,0", ",2,3,0", "inf,2,3,0", "1,2,3,0"]
    (tmp_path / "a.csv").write_text("\n".join(["x,y,z,gripper", *rows]))
    read = read_csv(tmp_path / "a.csv", "position4", FRAME_TIMES)
    assert read.times.tolist() == FRAME_TIMES.tolist() and read.valid.tolist() == [True, False, False, False, True]
    (tmp_path / "a.csv").write_text("\n".join(rows))
    assert read_csv(tmp_path / "a.csv", "position4", FRAME_TIMES).valid.sum() == 2
    with pytest.raises(InputError, match=r"no column of times, and 5 rows for 6 frames; name a column time"):
        read_csv(tmp_path / "a.csv", "position4", np.arange(6) / 10)


def test_the_layout_is_the_widest_that_the_header_names(tmp_path):
    for header, layout in (
        ("t,x,y,z,gripper", "position4"),
        ("gripper,yaw,pitch,roll,z,y,x,t", "pose7"),
        ("t,px,py", None),
        ("0,1,2", None),
        ("t,x,y", "the nearest, position4, needs z, gripper too"),
        ("t,x,y,z,griper", r"needs gripper too \(is gripper what is called griper here\?\)"),
        ("t;x;y;z;gripper", "a.csv, line 1: its columns are separated by ';'"),
    ):
        (tmp_path / "a.csv").write_text(header + "\n")
        if layout in LAYOUTS:
            assert layout_in(tmp_path / "a.csv") == layout
        else:
            with pytest.raises(InputError, match=layout or "no layout; name one with --layout"):
                layout_in(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("time;x;y;z;gripper\n0;1;2;3;0", "separated by ';'; separate them by commas"),
        ('time,x,y,z,gripper\n0,"0,5",2,3,0', r"line 2: x=0,5 has a decimal comma; write 0\.5"),
        ("time,x,y,z,gripper\n0,5 mm,2,3,0", "line 2: x=5 mm is no number; write it without its unit"),
        ("time,x,y,z,gripper\n0,1,2,3", "line 2: 4 fields where the header has 5"),
        ("time,x,y,z\n0,1,2,3", "has no column gripper of layout position4, but time, x, y, z; name all of x, y, z"),
        ("time,x,y,zz,gripper\n0,1,2,3,1", r"no column z of layout position4 \(is z what is called zz here\?\), but"),
        ("time,x,y,z,gripper\n0,1,2,3,1\n,1,2,3,1", "line 3: time is missing"),
        ("time,x,y,z,gripper\n0,1,2,3,1\n0,1,2,3,1", "does not come after"),
        ("frame,x,y,z,gripper\n5,1,2,3,1", r"line 2: frame=5 is no frame of the video, which has 0 to 4"),
        ("time,x,y,z,gripper", "has no row below its header"),
        ("", "is empty"),
        ("0,1,2\n1,1,2", "no header and 3 columns; layout position4 needs 5"),
    ],
)
def test_what_is_wrong_in_a_table_is_one_line_with_its_place(tmp_path, text, said):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=said) as error:
        read_csv(tmp_path / "a.csv", "position4", FRAME_TIMES)
    assert "\n" not in str(error.value) and "a.csv" in str(error.value)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{k}00,{k},0,0,1", r"are no seconds \(a: they last 700 .* are they milliseconds"),
        ("{k},{k},0,0,1", r"numbers of frames \(a: 0 to 11; call their column frame"),
        ("9{k},{k},0,0,1", r"no time in common \(a: 90\.00 to"),
        ("0.{k},900,0,0,1", r"not in metres \(a: x reaches 900; divide by what a metre has of its unit \(inches, "),
        ("0.{k},1,0,0,255", "gripper goes from 255 to 255"),
        ("0.{k},1,0,0,", "no row of its trajectory is valid"),
    ],
)
def test_values_in_other_units_are_told(tmp_path, row, said):
    folder = tmp_path / "clips"
    count = 12 if row.startswith("{k},") else 8
    table(clip(folder).with_suffix(".csv"), [row.format(k=k) for k in range(count)])
    assert re.search(said, reason(folder, tmp_path / "out"))


def test_videos_that_cannot_be_used_are_counted_by_their_reason(tmp_path):
    folder = tmp_path / "clips"
    good = table(clip(folder).with_suffix(".csv")).read_text()
    clip(folder, "alone.mp4")
    clip(folder, "both.mp4")
    for suffix in (".csv", ".npz"):
        (folder / f"both{suffix}").write_text(good)
    (folder / "cut.csv").write_text(good)
    (folder / "cut.mp4").write_bytes((folder / "a.mp4").read_bytes()[:600])
    (folder / "words.csv").write_text(good)
    clip(folder, "words.mp4").with_suffix(".txt").write_bytes(b"\xff\xfe")
    clip(folder, "json.mp4").with_suffix(".json").write_text("[1, 2]")
    left_out = run(folder, tmp_path / "out").left_out
    assert set(left_out) == {"alone", "both", "cut", "words", "json"}
    assert left_out["alone"] == "there is no trajectory beside it: no alone.csv or alone.json or alone.npz"
    assert left_out["both"] == "there are several trajectories beside it: both.csv, both.npz"
    assert left_out["cut"].startswith("its video cannot be read: ")
    assert left_out["words"].startswith("its caption cannot be read: ")
    assert left_out["json"].endswith("it must be a mapping of values, times, layout, form, valid")


def test_trajectories_without_a_video_are_told(tmp_path, caplog):
    folder = tmp_path / "clips"
    good = table(clip(folder).with_suffix(".csv")).read_text()
    clip(folder, "garden/b.mp4").with_suffix(".csv").write_text(good)
    (folder / "gone.csv").write_text(good)
    (folder / "garden/too.csv").write_text(good)
    run(folder, tmp_path / "out")
    assert "not used, as no video of the same name lies beside: too.csv, gone.csv" in caplog.text
    assert "is not read for captions" not in caplog.text


def test_folders_that_are_none_are_refused(tmp_path):
    empty, folder = tmp_path / "empty", tmp_path / "clips"
    empty.mkdir()
    with pytest.raises(InputError, match=r"holds no video \(nothing at all\); it needs"):
        run(empty, tmp_path / "out")
    (empty / "a.csv").touch()
    with pytest.raises(InputError, match=r"holds no video \(1 \.csv\)"):
        run(empty, tmp_path / "out")
    table(clip(folder).with_suffix(".csv"))
    clip(folder, "a.mov")
    with pytest.raises(InputError, match=r"two videos are called a: a\.mov and a\.mp4; rename one"):
        run(folder, tmp_path / "out")
    with pytest.raises(InputError, match="cameras of a folder of videos"):
        convert(Conversion("folder", Reading(folder, ("top",)), tmp_path / "out"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clips", "empty"]


def test_the_report_is_kept_in_the_data_set(tmp_path):
    folder = tmp_path / "clips"
    table(clip(folder).with_suffix(".csv"))
    clip(folder, "b.mp4")
    run(folder, tmp_path / "out")
    kept = json.loads((tmp_path / "out/meta/conversion.json").read_text())
    assert kept["left_out"] == {"b": "there is no trajectory beside it: no b.csv or b.json or b.npz"}
    assert kept["settings"]["source"] == "folder" and kept["seconds"] == 1.2 and kept["episodes"] == {"train": 1}
