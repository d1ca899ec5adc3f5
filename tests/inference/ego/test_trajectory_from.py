"""A rollout along the hands of a video."""

from types import SimpleNamespace

import numpy as np
import pytest
from hands import SIZE, Scene, Scripted, moving

from vgen.errors import InputError
from vgen.inference.ego.inputs import warn_of_other_shape
from vgen.inference.ego.run import media_files
from vgen.inference.ego.spec import RolloutSpec, Start
from vgen.inference.ego.trajectories import given_trajectory
from vgen.media.writing import write_video
from vgen.sources.hands import mediapipe

FRAMES = 24


@pytest.fixture
def video(tmp_path, monkeypatch):
    scene = Scene(moving(FRAMES), away={0: {10}, 1: set()})
    monkeypatch.setattr(mediapipe, "load", lambda: lambda: Scripted(scene.sightings()))
    write_video(tmp_path / "hands.mp4", np.zeros((FRAMES, *SIZE, 3), np.uint8), 12)
    return tmp_path / "hands.mp4"


def model(*layouts):
    return SimpleNamespace(model="mine", layouts=list(layouts))


def spec(video, **more):
    return RolloutSpec(Start("photo.png"), trajectory_from=str(video), **more)


def test_the_hands_of_a_video_drive_a_rollout(video):
    known = given_trajectory(spec(video), model("hand_boxes", "position4"), None)
    assert (known.layout, known.form, len(known)) == ("hand_boxes", "absolute", FRAMES)
    assert np.allclose(known.times, np.arange(FRAMES) / 12)
    assert np.array_equal(np.flatnonzero(~known.valid), [10])


def test_the_start_frame_may_lie_later_in_the_video(video):
    known = given_trajectory(spec(video, at=0.5, layout="keypoints"), model("hand_boxes", "keypoints"), None)
    assert known.layout == "keypoints"
    assert known.times[6] == pytest.approx(0)


def test_of_two_layouts_keypoints_are_taken(video):
    assert given_trajectory(spec(video), model("hand_boxes", "keypoints"), None).layout == "keypoints"


def test_a_model_of_other_layouts_is_refused_before_the_video_is_read(tmp_path):
    with pytest.raises(
        InputError, match=r"mine knows the layouts adroit_hand, position4 and a video of hands gives"
    ) as e:
        given_trajectory(spec(tmp_path / "none.mp4"), model("adroit_hand", "position4"), None)
    assert "vgen data hands" in str(e.value)
    with pytest.raises(InputError, match="'position4' is not in the layouts of hands that model mine knows"):
        given_trajectory(spec("none.mp4", layout="position4"), model("keypoints", "position4"), None)


def test_a_video_without_hands_or_that_is_none_is_told_in_one_line(video, monkeypatch, tmp_path):
    monkeypatch.setattr(mediapipe, "load", lambda: lambda: Scripted([[]] * FRAMES))
    with pytest.raises(InputError, match=r"hands\.mp4: no hand is seen in it: 24 frames"):
        given_trajectory(spec(video), model("keypoints"), None)
    with pytest.raises(InputError, match=r"lost\.mp4: no such video file"):
        given_trajectory(spec(tmp_path / "lost.mp4"), model("keypoints"), None)


def test_the_video_is_recorded_with_the_question(video, tmp_path):
    given = spec(video, at=0.25)
    again = RolloutSpec.from_dict(given.to_dict(tmp_path), tmp_path)
    assert str(again.trajectory_from) == str(video)
    assert again.at == 0.25
    assert str(video) in map(str, media_files(given))


def test_two_trajectories_are_refused(video):
    with pytest.raises(InputError, match="are two trajectories; give one"):
        spec(video, trajectory="hand.npz")


def test_boxes_of_a_video_of_another_shape_are_told(video, caplog):
    warn_of_other_shape(video, SimpleNamespace(size=(96, 128)))
    assert not caplog.records
    warn_of_other_shape(video, SimpleNamespace(size=(32, 64)))
    assert "hands.mp4 is of 48x64, the start is shown as 32x64: its boxes are" in caplog.text
