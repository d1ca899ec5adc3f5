import importlib.util
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

if importlib.util.find_spec("cv2") is None:
    pytest.skip("opencv-python-headless is not installed", allow_module_level=True)

import cv2

from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.errors import InputError
from vgen.simulators.pictures import captions, motion
from vgen.simulators.pictures.clips import CAMERA, OBJECT, SECOND, SHARES, kinds, make_clip
from vgen.simulators.pictures.layers import Layer, draw_clip, object_path
from vgen.simulators.pictures.photographs import find, prepare
from vgen.simulators.pictures.recorder import record
from vgen.simulators.pictures.scenery import Scenery
from vgen.simulators.pictures.settings import PicturesRecording, check
from vgen.simulators.pictures.things import fly


def noisy(seed, height=240, width=320):
    """A picture with detail at every size."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    for cell in (40, 20, 10, 5):
        small = rng.normal(0, cell, (height // cell + 2, width // cell + 2, 3)).astype(np.float32)
        total += cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + total, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder with two sizes of a picture, one that is for testing alone, a copy, and three that cannot be used."""
    folder = tmp_path_factory.mktemp("photos")
    sized = folder / "Meadow" / "contents" / "images"
    sized.mkdir(parents=True)
    Image.fromarray(noisy(0, 720, 1440)).save(sized / "1440x720.bmp")
    Image.fromarray(noisy(0)).save(sized / "320x240.bmp")
    Image.fromarray(noisy(1)).save(folder / "Meadow" / "contents" / "screenshot.png")
    Image.fromarray(noisy(2)).save(folder / "Garden.bmp")
    Image.fromarray(noisy(2)).save(folder / "A copy.bmp")
    Image.fromarray(noisy(3, 60, 60)).save(folder / "small.png")
    Image.fromarray(np.full((300, 300, 3), 90, np.uint8)).save(folder / "flat.png")
    Image.fromarray(noisy(4)).save(folder / "plain.jpg")
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def found(photos, tmp_path_factory):
    with ThreadPoolExecutor(1) as pool:
        return prepare(photos, tmp_path_factory.mktemp("cache"), pool).photographs


def clips_of(kind, count, size=(64, 64), frames=9, photographs=()):
    """The first clips of a kind."""
    numbers = [number for number in range(len(kinds()) * count) if kinds()[number % len(kinds())] == kind][:count]
    scenery = Scenery(photographs, size)
    return [make_clip(scenery, 0, number, frames) for number in numbers]


def test_of_the_sizes_of_a_picture_the_largest_is_found(photos):
    named = find(photos)
    assert set(named) == {"Meadow", "Garden", "A copy", "small", "flat", "plain", "broken"}
    assert named["Meadow"].stem == "1440x720"


def test_pictures_that_are_of_no_use_or_there_twice_are_left_out_and_some_kept_for_testing(found):
    assert {each.name: each.held_out for each in found} == {"Meadow": False, "Garden": True, "plain": False}
    assert {each.name: each.pixels().shape for each in found}["Meadow"] == (640, 1280, 3)


def test_pictures_are_read_once(photos, tmp_path):
    with ThreadPoolExecutor(1) as pool:
        first = prepare(photos, tmp_path, pool).photographs
    moved = tmp_path.with_name(f"{tmp_path.name}-moved")
    tmp_path.rename(moved)
    again = prepare(photos, moved, pool=None).photographs
    assert [each.name for each in again] == [each.name for each in first]
    assert np.array_equal(again[0].pixels()[:2, :2], noisy(2)[:2, :2])


def test_a_step_is_where_the_next_frame_lies_in_this_one():
    rng = np.random.default_rng(0)
    path = motion.Path(*rng.normal(0, 9, (2, 5)), np.exp(rng.normal(0, 0.3, 5)), rng.normal(0, 1, 5))

    def seen(t, p):
        return np.exp(1j * path.turn[t]) * p / path.zoom[t] + complex(path.x[t], path.y[t])

    for t, (dx, dy, zoom, turn) in enumerate(path.steps()[:-1]):
        p = complex(*rng.normal(0, 30, 2))
        assert np.isclose(seen(t + 1, p), seen(t, complex(dx, dy) + np.exp(1j * turn) * p / zoom), atol=1e-4)


def test_a_shifted_picture_is_the_picture_shifted():
    picture, frames = noisy(5, 200, 200), 3
    path = replace(motion.still(frames), x=np.array([0.0, 2.0, 4.0]))
    drawn = draw_clip([Layer(np.repeat(np.repeat(picture, 2, 0), 2, 1), (-100, -100), (2, 2), path)], (64, 64))
    assert np.abs(drawn[0] - picture[68:132, 68:132]).mean() < 1.5
    assert np.allclose(drawn[2][:, :-4], drawn[0][:, 4:], atol=0.01)


@pytest.mark.parametrize(("shift", "zoom"), [(0.37, 1.0), (-1.62, 1.0), (0.2, 1.7), (0.5, 0.8)])
def test_drawn_frames_hold_what_the_picture_has_at_their_places(shift, zoom):
    """A grating, against the grating itself."""
    x = (np.arange(800) + 0.5) / 2 - 200
    grating = np.broadcast_to((127.5 + 100 * np.cos(2 * np.pi * x / 12))[None, :, None], (400, 800, 3))
    path = replace(motion.still(1), x=np.array([shift]), zoom=np.array([zoom]))
    layer = Layer(np.ascontiguousarray(grating.round().astype(np.uint8)), (-200, -100), (2, 2), path)
    drawn = draw_clip([layer], (32, 64))[0, 16, :, 0]
    places = shift + (np.arange(64) - 31.5) / zoom
    assert np.abs(drawn - (127.5 + 100 * np.cos(2 * np.pi * places / 12))).max() < 4


def test_a_grating_that_is_finer_than_pixels_becomes_grey():
    fine = np.zeros((400, 800, 3), np.uint8)
    fine[:, ::2] = 255
    path = replace(motion.still(3), x=np.array([0.0, 0.3, 0.6]))
    drawn = draw_clip([Layer(fine, (-200, -100), (2, 2), path)], (32, 64))
    assert np.abs(drawn - 127.5).max() < 12


def test_a_thing_is_seen_where_its_path_says():
    sprite = np.zeros((40, 40, 4), np.float32)
    sprite[10:30, 10:30] = 255
    x, y = np.array([-10.0, 3.25]), np.array([4.0, -7.5])
    path = object_path(x, y, np.array([0.5, 1.0]), np.array([0.4, -1.0]))
    ground = Layer(np.zeros((200, 200, 3), np.uint8), (-50, -50), (2, 2), motion.still(2))
    drawn = draw_clip([ground, Layer(sprite, (-10, -10), (2, 2), path)], (64, 96))[..., 0]
    rows, columns = np.mgrid[:64, :96]
    for t in range(2):
        assert np.isclose((columns * drawn[t]).sum() / drawn[t].sum() - 47.5, x[t], atol=0.05)
        assert np.isclose((rows * drawn[t]).sum() / drawn[t].sum() - 31.5, y[t], atol=0.05)
    assert np.allclose(drawn.sum((1, 2)) / 255, [25, 100], rtol=0.03)


@pytest.mark.parametrize("of", ["textures", "photographs"])
def test_the_measured_motion_is_that_of_the_columns_and_of_the_caption(of, found):
    photographs = found if of == "photographs" else ()
    for clip in clips_of("pan", 8, (96, 96), photographs=photographs):
        grey = clip.frames.mean(-1)
        if grey.std() < 15:
            continue
        window = np.outer(np.hanning(96), np.hanning(96))
        measured = [cv2.phaseCorrelate(a - a.mean(), b - b.mean(), window)[0] for a, b in pairwise(grey)]
        told = clip.columns[CAMERA][:-1, :2]
        repeats = any(word in clip.caption for word in ("stripes", "checker", "waves", "letters", "gradient"))
        if not repeats:
            assert np.abs(told + np.array(measured)).mean() < 0.25, clip.caption
        dx, dy = told.sum(0)
        assert ("left" in clip.caption, "right" in clip.caption) == (dx < -abs(dy) * 0.41, dx > abs(dy) * 0.41)
        assert ("up" in clip.caption, "down" in clip.caption) == (dy < -abs(dx) * 0.41, dy > abs(dx) * 0.41)


def test_the_words_of_zooms_turns_and_light_are_those_of_the_columns():
    for clip in clips_of("zoom", 6, (32, 32)):
        inward = any(word in clip.caption for word in ("zooms in", "closer"))
        assert inward == (clip.columns[CAMERA][:, 2].prod() > 1), clip.caption
    for clip in clips_of("turn", 6, (32, 32)):
        assert ("anticlockwise" in clip.caption) == (clip.columns[CAMERA][:, 3].sum() > 0)
    for clip in clips_of("light", 8, (32, 32)):
        light, warmth = clip.columns[CAMERA][:, 4].prod(), clip.columns[CAMERA][:, 5].prod()
        words = {"brighter": light > 1, "darker": light < 1, "warmer": warmth > 1, "colder": warmth < 1}
        assert [is_so for word, is_so in words.items() if word in clip.caption] == [True]
        change = clip.frames[-1].mean() / clip.frames[0].mean()
        assert "brighter" not in clip.caption or change > 1.1
        assert "darker" not in clip.caption or change < 0.9


def test_a_thing_goes_where_its_words_say():
    for seed in range(40):
        flight = fly(np.random.default_rng(seed), 17, (64, 96), 10.0)
        dx, dy = flight.x[-1] - flight.x[0], flight.y[-1] - flight.y[0]
        if "comes in" in flight.deed:
            assert abs(flight.x[0]) >= 47 or abs(flight.y[0]) >= 31
            assert ("left" in flight.deed) == (dx > 0.42 * abs(dy))
        elif "to the left" in flight.deed or "to the right" in flight.deed:
            assert ("left" in flight.deed) == (dx < 0)
        if flight.deed.startswith("comes closer"):
            assert flight.scale[-1] > flight.scale[0]


def test_a_picture_that_is_led_over_into_another():
    for kind in ("fade", "wipe", "push"):
        for clip in clips_of(kind, 3, (32, 48), frames=17):
            share = clip.columns[SECOND][:, 0]
            assert share[0] < 0.02 and share[-1] > 0.98 and (np.diff(share) > -1e-6).all()
            assert kind == "fade" or any(word in clip.caption for word in ("left", "right", "up", "down"))


def test_every_kind_has_clips_whose_captions_a_text_encoder_can_read(found):
    assert set(kinds()[:20]) == set(SHARES) and len(kinds()) == 50
    scenery, seen = Scenery(found, (32, 48)), set()
    for number in range(60):
        clip = make_clip(scenery, 3, number, 5)
        assert 10 < len(clip.caption.encode()) <= captions.LONGEST, clip.caption
        assert "  " not in clip.caption and clip.caption == clip.caption.strip()
        assert clip.frames.shape == (5, 32, 48, 3) and clip.frames.dtype == np.uint8
        assert all(np.isfinite(column).all() for column in clip.columns.values())
        assert (clip.columns[OBJECT][:, 2] > 0).all() == (clip.about["kind"] in ("object", "shapes", "behind"))
        seen.add(clip.caption)
    assert len(seen) > 45


def test_a_clip_follows_from_its_seed_and_number_alone(found):
    scenery = Scenery(found, (32, 32))
    first = make_clip(scenery, 7, 12, 4)
    make_clip(scenery, 7, 13, 4)
    again, other = make_clip(Scenery(found, (32, 32)), 7, 12, 4), make_clip(scenery, 8, 12, 4)
    assert np.array_equal(first.frames, again.frames) and first.caption == again.caption
    assert not np.array_equal(first.frames, other.frames)


def test_a_recording_that_was_broken_off_goes_on_and_keeps_test_pictures_apart(photos, tmp_path):
    out = tmp_path / "set"
    recording = PicturesRecording(out, photos, 14, 3, size="32x48", frames=5, fps=10, cache=tmp_path / "cache")
    settings = {"size": "32x48", "frames": "5", "fps": "10", "seed": "0", "photos": str(photos)}
    staging = tmp_path / "set.recording"
    staging.mkdir()
    (staging / "settings.json").write_text(json.dumps(settings | {"seed": "1"}))
    with pytest.raises(InputError, match="interrupted recording with other settings"):
        record(recording)
    (staging / "settings.json").write_text(json.dumps(settings))
    (staging / "clip-3.part").mkdir()  # of a worker that was killed
    assert record(recording) == out
    train, test = LeRobotDataset(out), LeRobotDataset(out, split="test")
    assert (len(train), len(test), train.info["fps"], staging.exists()) == (14, 3, 10, False)
    episode = test.episode(1)
    with ThreadPoolExecutor(1) as pool:
        held_out = prepare(photos, tmp_path / "cache", pool).of(held_out=True).photographs
    clip = make_clip(Scenery(held_out, (32, 48)), 0, 10_001, 5)
    assert episode.task == clip.caption and episode.extra == dict(clip.about)
    assert (
        np.abs(test.frames(1, "view").mean(-1) - clip.frames.mean(-1)).mean() < 8
    )  # colours are kept at half the size
    assert np.allclose(episode.columns[CAMERA], clip.columns[CAMERA])
    assert not any("Garden" in train.episode(i).extra["pictures"] for i in range(14))
    assert {test.episode(i).extra["pictures"] for i in range(3)} <= {"", "Garden"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": "128"}, "is not HEIGHTxWIDTH"),
        ({"size": "33x32"}, "33"),
        ({"clips": 0}, "no clip to record"),
        ({"clips": -1}, "clips=-1"),
        ({"clips": 10_001}, "nearest: 10000"),
        ({"frames": 1}, "nearest: 2"),
        ({"split": "tets"}, "nearest: 'test'"),
        ({"workers": 0}, "nearest: 1"),
    ],
)
def test_what_cannot_be_recorded_is_refused_in_one_line(changes, message, tmp_path):
    with pytest.raises(InputError, match=message) as refused:
        check(replace(PicturesRecording(tmp_path / "set"), **changes))
    assert "\n" not in str(refused.value)


def test_a_folder_without_pictures_is_refused_and_nothing_is_left(tmp_path):
    with pytest.raises(InputError, match="is no folder"):
        record(PicturesRecording(tmp_path / "set", tmp_path / "none", cache=tmp_path / "cache"))
    assert not any(tmp_path.iterdir())
    with pytest.raises(InputError, match="holds no picture"):
        prepare(tmp_path, tmp_path / "cache", pool=None)
    with pytest.raises(InputError, match="is no folder"):
        prepare(tmp_path / "none", tmp_path / "cache", pool=None)


def test_without_opencv_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.delitem(sys.modules, "vgen.simulators.pictures.opencv")
    with pytest.raises(InputError, match="pip install opencv-python-headless"):
        importlib.import_module("vgen.simulators.pictures.opencv")
