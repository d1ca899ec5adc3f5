"""Videos of hands, converted."""

import json

import numpy as np
import pytest
from hands import FOCAL, SIZE, Scene, Scripted, moving

from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.errors import InputError
from vgen.media.writing import write_video
from vgen.sources.conversion.convert import Conversion, convert
from vgen.sources.hands import mediapipe
from vgen.sources.hands.camera import FILM
from vgen.sources.source import Reading
from vgen.trajectory.recorded import recorded_trajectory

FRAMES = 24
MILLIMETRES = f"{FOCAL / np.hypot(*SIZE) * FILM}"


def film(path, frames=FRAMES, size=SIZE, fps=30):
    pixels = np.zeros((frames, *size, 3), np.uint8)
    pixels[:, :, : size[1] // 2] = 200  # bright on the left
    write_video(path, pixels, fps)


@pytest.fixture
def scripted(monkeypatch):
    """Detectors that see these scenes, one after the other."""

    def set_up(*scenes):
        left = iter(scenes)
        monkeypatch.setattr(mediapipe, "load", lambda: lambda: Scripted(next(left)))

    return set_up


def converted(folder, out, layout=None, fps=None, size=None, **more):
    reading = Reading(folder, layout=layout, fps=fps, more={"focal": MILLIMETRES} | more)
    return convert(Conversion("hands", reading, out, size=size, splits={}))


def test_hands_become_a_data_set(tmp_path, scripted):
    scene = Scene(moving(FRAMES), away={0: {4, 5}, 1: set()}, swapped={12})
    scripted(scene.sightings(), [[]] * FRAMES)
    film(tmp_path / "videos.mp4")
    film(tmp_path / "without.mp4")
    (tmp_path / "videos.txt").write_text("wave\n")
    report = converted(tmp_path, tmp_path / "set", smooth="0")
    assert report.left_out == {"without": "no hand is seen in it: 24 frames"}
    data = LeRobotDataset(tmp_path / "set")
    episode = data.episode(0)
    assert (data.fps, episode.length, episode.task) == (30, FRAMES, "wave")
    state = recorded_trajectory(data, 0, "observation.state")
    boxes = recorded_trajectory(data, 0, "observation.hand_boxes")
    assert (state.layout, boxes.layout) == ("keypoints", "hand_boxes")
    assert np.array_equal(np.flatnonzero(~state.valid), [4, 5])
    hands = state.values[:, :126].reshape(FRAMES, 2, 21, 3).swapaxes(0, 1)
    assert np.abs(hands - scene.hands)[:, state.valid].max() < 1e-4
    assert episode.columns["observation.intrinsics"][3] == pytest.approx([FOCAL, FOCAL, 31.5, 23.5])
    told = episode.extra
    assert (told["gaps"], told["gap_rows"], told["swaps"], told["focal_said_by"]) == (1, 2, 1, "given")
    assert told["left_seen"] == pytest.approx(22 / 24)
    assert "smoothed: none" in data.info["features"]["observation.state"]["info"]["conventions"]


def test_boxes_may_be_the_state_and_go_with_smaller_frames(tmp_path, scripted):
    scripted(Scene(moving(FRAMES)).sightings())
    film(tmp_path / "a.mp4")
    converted(tmp_path, tmp_path / "set", layout="hand_boxes", size=(24, 32))
    data = LeRobotDataset(tmp_path / "set")
    assert recorded_trajectory(data, 0, "observation.state").layout == "hand_boxes"
    assert recorded_trajectory(data, 0, "observation.keypoints").layout == "keypoints"
    assert data.episode(0).columns["observation.intrinsics"][0, :2] == pytest.approx([FOCAL / 2] * 2)
    assert "Butterworth" in data.episode(0).extra["smoothing"]


def test_a_mirrored_video_is_turned_over(tmp_path, scripted):
    scripted(Scene(moving(FRAMES)).sightings())
    film(tmp_path / "a.mp4")
    converted(tmp_path, tmp_path / "set", mirrored="yes", text="wave")
    data = LeRobotDataset(tmp_path / "set")
    frame = data.frames(0, "view", [3])[0]
    assert frame[:, :10].mean() < 40 and frame[:, -10:].mean() > 160
    assert data.summary(0)[2] == "wave"


def test_videos_of_other_rates_become_one_rate(tmp_path, scripted):
    scene = Scene(moving(60)).sightings()
    scripted(scene[:12], scene[:12], scene[:12])
    film(tmp_path / "a.mp4", 24, fps=30)
    film(tmp_path / "b.mp4", 12, fps=15)
    film(tmp_path / "c.mp4", 20, fps=25)  # of 0.8 s
    report = converted(tmp_path, tmp_path / "set")
    data = LeRobotDataset(tmp_path / "set")
    assert data.fps == 15
    assert [data.summary(i)[1] for i in range(3)] == [12, 12, 12]
    assert report.mended.get("frames shown again, as the video has fewer in a second", 0) == 0


def test_a_video_of_another_shape_or_that_is_none_is_left_out(tmp_path, scripted):
    scripted(Scene(moving(FRAMES)).sightings())
    film(tmp_path / "a.mp4")
    film(tmp_path / "b.mp4", 4, (64, 48))
    (tmp_path / "c.mp4").write_text("no video\n" * 20)
    report = converted(tmp_path, tmp_path / "set")
    assert "of another shape than those of the first video: 64x48, not 48x64" in report.left_out["b"]
    assert "its video cannot be read" in report.left_out["c"]


def test_videos_are_named_one_by_one(tmp_path, scripted):
    scripted(Scene(moving(FRAMES)).sightings())
    film(tmp_path / "a.mp4")
    film(tmp_path / "b.mp4")
    report = converted(tmp_path, tmp_path / "set", videos=json.dumps(["b.mp4"]))
    assert report.takes == 1 and LeRobotDataset(tmp_path / "set").episode(0).extra["take"] == "b"


@pytest.mark.parametrize(
    "options, names",
    [
        ({"focal": "2"}, "focal=2 is not a number of millimetres"),
        ({"smooth": "fast"}, "smooth=fast is not a number of Hz"),
        ({"mirrored": "maybe"}, "mirrored=maybe is not yes or no"),
        ({"layout": "pose7"}, "'pose7' is not in the layouts that hands are tracked to"),
    ],
)
def test_wrong_options_are_told(tmp_path, scripted, options, names):
    scripted()
    film(tmp_path / "a.mp4", 2, (32, 32))
    with pytest.raises(InputError, match=names):
        converted(tmp_path, tmp_path / "set", **options)
