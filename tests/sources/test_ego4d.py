import json

import numpy as np
import pytest

from vgen.errors import InputError
from vgen.media.writing import write_video
from vgen.sources.ego4d import Ego4DSource
from vgen.sources.source import LeftOut, Reading

SIZE = (96, 160)  # height and width
CLIP, VIDEO = "3b2c-clip", "9f-video"
START = 5400  # of the clip in its video


def told(marks: dict[str, tuple[int, dict]], action=(90, 180)) -> dict:
    """An interaction of fho_hands: by kind, the frame of the clip and the hands."""
    frames = {
        kind: {
            "frame": START + number,
            "clip_frame": number,
            "boxes": [{f"{hand}_hand": place} for hand, place in hands.items()],
        }
        for kind, (number, hands) in marks.items()
    }
    return {"action_start_frame": START + action[0], "action_end_frame": START + action[1], **frames}


def write(root, marks, *, main=None, name="fho_hands_train.json", rate=30, frames=26):
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / "clips").mkdir(exist_ok=True)
    clips = [{"clip_id": 7, "clip_uid": CLIP, "video_uid": VIDEO, "frames": [told(one) for one in marks]}]
    if name:
        (root / "annotations" / name).write_text(json.dumps({"version": "1", "split": "train", "clips": clips}))
    if main is not None:
        (root / "annotations" / "fho_main.json").write_text(json.dumps({"videos": main}))
    levels = np.stack([np.full((*SIZE, 3), 9 * number, np.uint8) for number in range(frames)])
    write_video(root / "clips" / f"{CLIP}.mp4", levels, rate)


def main_video(frames: dict[str, tuple[int, dict]], size=(160, 96), **action) -> list[dict]:
    """A video of fho_main with one action: by kind, the frame of the clip and the hands as x, y, width, height."""
    kinds = {kind: number for kind, (number, _) in frames.items()}
    boxes = [
        {
            "frame_number": START + number,
            "frame_type": kind,
            "boxes": [
                {"object_type": "object_of_change", "bbox": {"x": 1, "y": 1, "width": 9, "height": 9}},
                *(
                    {"object_type": f"{hand}_hand", "bbox": dict(zip(("x", "y", "width", "height"), box, strict=True))}
                    for hand, box in hands.items()
                ),
            ],
        }
        for kind, (number, hands) in frames.items()
    ]
    whole = {
        "start_frame": START + 90,
        "end_frame": START + 180,
        "narration_text": "#C C cuts the carrot #unsure",
        "is_valid_action": True,
        "critical_frames": {kind: START + number for kind, number in kinds.items()},
        "clip_critical_frames": kinds,
        "frames": boxes,
    }
    interval = {"clip_uid": CLIP, "narrated_actions": [whole | action]}
    metadata = {"width": size[0], "height": size[1]}
    return [{"video_uid": VIDEO, "video_metadata": metadata, "annotated_intervals": [interval]}]


def read(root, **more):
    source = Ego4DSource(Reading(root, more=more))
    takes = source.takes()
    return takes, [source.read(take) for take in takes]


def pixels(episode, hand, size=SIZE) -> np.ndarray:
    state = episode.columns["observation.state"].astype(float)
    start = {"left": 0, "right": 4}[hand]
    return state[:, start : start + 4] * [size[1], size[0], size[1], size[0]]


def test_points_are_the_middles_of_squares_and_frames_between_are_interpolated(tmp_path):
    marks = {
        "pre_45": (5, {"left": [40.25, 50.5], "right": [100, 60]}),
        "pre_30": (15, {"left": [60.25, 40.5]}),
        "pnr_frame": (20, {"right": [120, 60]}),
        "post_frame": (24, {"left": [70, 44], "right": [124, 64]}),
    }
    write(tmp_path / "v2", [marks])
    (take,), (episode,) = read(tmp_path, side="0.5")
    assert (take.name, take.group, take.split) == (f"{CLIP}_000005_000024", VIDEO, "train")
    left = pixels(episode, "left")
    middles = (left[:, :2] + left[:, 2:]) / 2
    for number, (x, y) in ((5, (40.25, 50.5)), (15, (60.25, 40.5)), (10, (50.25, 45.5)), (24, (70, 44))):
        assert middles[number - 5] == pytest.approx((x, y), rel=1e-5)
    assert (left[:, 2:] - left[:, :2]) == pytest.approx(np.full((20, 2), 48), rel=1e-5)
    seen = episode.columns["observation.state"][:, -2:]
    assert np.flatnonzero(seen[:, 0]).tolist() == [*range(11), 19]
    assert np.flatnonzero(seen[:, 1]).tolist() == [0, 15, 16, 17, 18, 19]
    flags = episode.columns["observation.annotated"]
    assert np.flatnonzero(flags[:, 0]).tolist() == [0, 10, 19] and not flags[:, 2:].any()
    assert episode.mended == {
        "rows in which the left hand is not seen": 8,
        "rows in which the right hand is not seen": 14,
        "hands between annotated frames, interpolated": 9 + 3,
        "hands told as a point, with a square put about it": 6,
    }
    shown = episode.frames["ego"].read(0, 20).mean(axis=(1, 2, 3))
    assert np.abs(shown - 9 * np.arange(5, 25)).max() < 3


def test_boxes_and_the_narration_of_fho_main_are_taken_in_pixels_of_its_own_size(tmp_path):
    marks = {"pre_45": (5, {"left": [40, 50]}), "pre_30": (15, {"left": [60, 40]})}
    main = main_video({"pre_45": (5, {"left": (21.5, 30.25, 40, 50)})}, size=(320, 192))
    write(tmp_path, [marks], main=main)
    _, (episode,) = read(tmp_path)
    assert pixels(episode, "left", (192, 320))[0] == pytest.approx([21.5, 30.25, 61.5, 80.25], rel=1e-5)
    assert episode.columns["observation.annotated"][[0, 10]].tolist() == [[1, 0, 1, 0], [1, 0, 0, 0]]
    assert episode.sentence == "cuts the carrot"


def test_fho_main_alone_tells_interactions_too(tmp_path):
    hands = {"pre_45": (5, {"left": (20, 30, 40, 50)}), "contact_frame": (9, {"left": (24, 30, 40, 50)})}
    rejected = main_video(hands, is_rejected=True)
    write(tmp_path, [], main=main_video(hands) + rejected, name=None)
    (take,), (episode,) = read(tmp_path)
    assert take.split is None and take.name == f"{CLIP}_000005_000009"
    assert pixels(episode, "left")[:, 0] == pytest.approx([20, 21, 22, 23, 24], rel=1e-5)


def test_two_interactions_of_the_same_frames_have_two_names(tmp_path):
    marks = {"pre_45": (5, {"left": [40, 50]}), "pre_30": (8, {"left": [60, 40]})}
    write(tmp_path, [marks, marks])
    takes, _ = read(tmp_path)
    assert [take.name for take in takes] == [f"{CLIP}_000005_000008", f"{CLIP}_000005_000008_2"]


@pytest.mark.parametrize(
    ("marks", "video", "said"),
    [
        ({"pre_45": (5, {}), "pnr_frame": (9, {})}, {}, "no hand is annotated"),
        ({"pre_45": (5, {"left": [1, 2]}), "pnr_frame": (90, {})}, {}, "too few frames: frame 26 is wanted, of 26"),
        ({"pre_45": (5, {"left": [1, 2]}), "pnr_frame": (9, {})}, {"rate": 24}, "30 frames per second: 24.00"),
        ({"pre_45": (5, {"left": [1, 2]}), "pnr_frame": (9, {})}, {"frames": 0}, f"its video is missing: {CLIP}"),
    ],
)
def test_interactions_that_cannot_be_used_are_left_out_with_their_reasons(tmp_path, marks, video, said):
    write(tmp_path, [marks], **({"frames": 1} if video.get("frames") == 0 else video))
    if video.get("frames") == 0:
        (tmp_path / "clips" / f"{CLIP}.mp4").unlink()
    with pytest.raises(LeftOut, match=said):
        read(tmp_path)


def test_folders_and_annotations_that_are_not_of_ego4d_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"has none of fho_hands_train\.json"):
        Ego4DSource(Reading(tmp_path))
    write(tmp_path, [{"pre_45": (5, {"left": [1, 2, 3]})}])
    with pytest.raises(InputError, match="a hand is told by 3 numbers"):
        Ego4DSource(Reading(tmp_path)).takes()
    with pytest.raises(InputError, match="side=0 is no share"):
        Ego4DSource(Reading(tmp_path, more={"side": "0"}))
    (tmp_path / "annotations" / "fho_hands_train.json").write_text("{")
    with pytest.raises(InputError, match="is no JSON"):
        Ego4DSource(Reading(tmp_path)).takes()
    (tmp_path / "clips" / f"{CLIP}.mp4").unlink()
    (tmp_path / "clips").rmdir()
    with pytest.raises(InputError, match="no folder clips"):
        Ego4DSource(Reading(tmp_path))
