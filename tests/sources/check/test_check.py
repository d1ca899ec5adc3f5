"""What `vgen data check` prints and writes, and what it refuses."""

import json

import numpy as np
import pytest
from av import open as open_video
from lerobot_folders import VIDEO_FILE
from lerobot_folders import changed as changed_folder
from moving_square import AXES, CAMERA, FOCAL, HEIGHT, LENS, POSE, SIZE, boxes, on_table, paths, pose7, video_of, write
from PIL import Image
from scipy.spatial.transform import Rotation
from trajectory_samples import LAYOUT_NAMES, sample

from vgen.commands.data import main
from vgen.errors import InputError
from vgen.sources.check.camera import axis_points, image_points
from vgen.sources.check.check import check
from vgen.sources.check.drawing import EpisodeDrawing
from vgen.sources.check.motion import motion_of
from vgen.sources.check.recordings import Recordings
from vgen.trajectory.layouts import find_layout
from vgen.trajectory.trajectory import Trajectory


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("square") / "set", camera=True, episodes=3)


def test_check_is_printed_and_written(folder, tmp_path, capsys):
    main(["check", str(folder), "--out", str(tmp_path / "out"), "--episodes", "1:3"])
    told = capsys.readouterr().out
    assert "3 episodes, 210 rows at 20/s (0.2 minutes); train 2, test 1" in told
    assert "observation.state as pose7, camera front" in told
    assert (tmp_path / "out/check.txt").read_text() == told
    kept = json.loads((tmp_path / "out/check.json").read_text())
    assert kept["episodes"] == [1, 2] and kept["layout"] == "pose7" and kept["rows"] == 210
    files = sorted(path.name for path in (tmp_path / "out/episodes").iterdir())
    assert files == [f"episode-{index:06}.{kind}" for index in (1, 2) for kind in ("mp4", "png")]
    with open_video(str(tmp_path / "out/episodes/episode-000001.mp4")) as video:
        assert video.streams.video[0].frames == 70
    with Image.open(tmp_path / "out/episodes/episode-000001.png") as sheet:
        assert sheet.width > 1000
    with pytest.raises(InputError, match="holds a check of a data set already"):
        main(["check", str(folder), "--out", str(tmp_path / "out")])


def test_table_tells_what_columns_hold(folder):
    report = check(folder, episodes=["1"])
    states = np.concatenate([pose7(path) for path in paths(3)])
    column = report.survey.columns["observation.state"]
    assert column.low == pytest.approx(states.min(0), abs=1e-5)
    assert column.high == pytest.approx(states.max(0), abs=1e-5)
    assert column.mean == pytest.approx(states.mean(0), abs=1e-5)
    steps = [np.linalg.norm(np.diff(on_table(path), axis=0), axis=1) * 20 for path in paths(3)]
    assert report.survey.jumps(find_layout("pose7"))["hand"].fastest == pytest.approx(np.max(steps), abs=1e-4)


def test_gaps_jumps_and_unreadable_frames_are_counted(folder, tmp_path):
    def broken(values):
        values = values.copy()
        values[10:14], values[40, 0] = np.nan, 9
        return values

    torn = write(tmp_path / "torn", change=broken, episodes=3, video=None)
    lines = "\n".join(check(torn).lines())
    assert "not valid: 12 of 210 rows, in 3 gaps, the longest of 4" in lines
    assert "6 jumps, the fastest" in lines
    assert "delay: cannot be told; no frames were read" in lines
    lost = changed_folder(folder, tmp_path / "lost", files=lambda path: (path / VIDEO_FILE).unlink())
    told = "\n".join(check(lost).lines())
    assert told.count("frames not read: episode") == 3


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"column": "observation.stat"}, "nearest: 'observation.state'"),
        ({"layout": "pose8"}, "nearest: 'pose7'"),
        ({"camera": "fron"}, "nearest: 'front'"),
        ({"episodes": ["0"]}, "--episodes 0 must be 1 or more"),
        ({"episodes": ["7:9"]}, "--episodes 7:9 is no episode of"),
        ({"layout": "position4"}, "observation.state has 7 columns; layout position4 has 4"),
    ],
)
def test_what_is_not_there_is_refused(folder, options, expected):
    with pytest.raises(InputError, match=expected):
        check(folder, **options)


def test_points_are_where_the_camera_sees_them():
    path = next(iter(paths(1)))
    trajectory = Trajectory(pose7(path), np.arange(len(path)) / 20, None, "pose7")
    pose = np.tile([*POSE, *np.roll(Rotation.from_matrix(AXES).as_quat(), 1)], (len(path), 1))
    lens = np.tile(LENS, (len(path), 1))
    points = image_points(trajectory, pose, lens, (SIZE, SIZE))
    assert points["hand"][:, 0] * SIZE == pytest.approx(path, abs=1e-3)
    x_axis = axis_points(trajectory, pose, lens, (SIZE, SIZE))["hand"][:, 0] * SIZE - path
    expected = 0.05 * FOCAL / HEIGHT * np.array([np.cos(0.3), -np.sin(0.3)])
    assert x_axis == pytest.approx(np.tile(expected, (70, 1)), abs=1e-3)
    assert image_points(trajectory, None, lens, (SIZE, SIZE)) is None


def test_boxes_need_no_camera():
    path = next(iter(paths(1)))
    points = image_points(Trajectory(boxes(path), np.arange(70) / 20, None, "hand_boxes"), None, None, (SIZE, SIZE))
    assert points["right"].mean(1) * SIZE == pytest.approx(path, abs=1e-3) and np.isnan(points["left"]).all()


@pytest.mark.parametrize("layout", LAYOUT_NAMES)
def test_every_layout_is_drawn(tmp_path, layout):
    from vgen.data.lerobot.writer import LeRobotWriter

    values = sample(layout, rows=20, rate=20.0).values
    names = {"observation.state": find_layout(layout).names, "observation.intrinsics": ["fx", "fy", "cx", "cy"]}
    writer = LeRobotWriter(tmp_path / "set", 20, names, [CAMERA], layouts={"observation.state": layout})
    lens = np.tile(np.float32(LENS), (20, 1))
    video = video_of(next(iter(paths(1)))[:20])
    writer.add_episode({"observation.state": values, "observation.intrinsics": lens}, {CAMERA: video}, "wave")
    writer.finish()
    recordings = Recordings(tmp_path / "set", None, None, None)
    recording = recordings.read(recordings.places[0])
    drawing = EpisodeDrawing(recordings, recording, motion_of(recordings, recording), (SIZE, SIZE))
    drawn = drawing.draw(video[5], 5)
    assert drawn.shape[0] % 2 == drawn.shape[1] % 2 == 0 and drawn.shape[0] > 6 * SIZE
