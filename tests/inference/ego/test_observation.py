import numpy as np
import pytest
from ego_models import EPISODE, RATE, SIZE, hand, ramp
from PIL import Image
from uneven_videos import write_uneven

from vgen.errors import InputError
from vgen.inference.ego.observation import open_observation, start_files
from vgen.inference.ego.spec import parse_start
from vgen.media.image import read_image
from vgen.media.video import read_video


@pytest.fixture
def observation(ego_media):
    """Opens something beside the media."""
    return lambda text: open_observation(parse_start(f"{ego_media}/{text}"), SIZE, None, "observation.state")


def test_an_image_stands_still(observation, ego_media):
    seen = observation("frame.png")
    assert (seen.back(RATE, 9), seen.ahead(RATE)) == (1, 0) and seen.recorded is None
    assert np.array_equal(seen.frames(0, 0, RATE)[0], read_image(ego_media / "frame.png"))


def test_the_last_frames_of_a_video_are_its_history(observation, ego_media):
    seen, whole = observation("clip.mp4"), read_video(ego_media / "clip.mp4")
    assert (seen.back(RATE, 9), seen.ahead(RATE)) == (9, 0)
    assert np.array_equal(seen.frames(-3, 0, RATE), whole[-4:])
    seen = observation("clip.mp4@16")
    assert (seen.back(RATE, 99), seen.ahead(RATE)) == (17, 8)
    assert np.array_equal(seen.frames(-1, 2, RATE), whole[15:19])


def test_a_video_at_another_rate_is_seen_at_the_same_moments(observation, ego_media):
    seen, whole = observation("fast.mp4@10"), read_video(ego_media / "fast.mp4")
    assert (seen.back(RATE, 99), seen.ahead(RATE)) == (6, 7)
    assert np.array_equal(seen.frames(-2, 1, RATE), whole[[6, 8, 10, 12]])


def test_a_video_of_a_variable_rate_is_seen_as_it_is_shown(tmp_path):
    seen = open_observation(parse_start(f"{write_uneven(tmp_path / 'a.mp4')}@5"), (32, 32), None, "observation.state")
    assert (seen.back(10, 99), seen.ahead(10)) == (8, 3)
    assert np.allclose(
        seen.frames(-6, 3, 10).mean((1, 2, 3)), [110, 110, 110, 140, 140, 140, 170, 170, 170, 200], atol=3
    )


@pytest.mark.parametrize("name", ["start.png", "start.gif"])
def test_a_start_with_transparent_parts_is_refused(tmp_path, name):
    picture = Image.new("RGBA", (32, 32), (200, 30, 40, 255))
    picture.save(tmp_path / name)
    seen = open_observation(parse_start(f"{tmp_path / name}"), (32, 32), None, "observation.state")
    assert seen.frames(0, 0, 9).shape[-1] == 3
    picture.paste((200, 30, 40, 0), (0, 0, 16, 16))
    picture.save(tmp_path / name)
    with pytest.raises(InputError, match=rf"{name} is transparent in 25.0% of its pixels"):
        open_observation(parse_start(f"{tmp_path / name}"), (32, 32), None, "observation.state")


def test_an_episode_brings_text_and_trajectory(observation, ego_media):
    seen = observation("episodes:episode=1:frame=8")
    assert seen.text == "open drawer 1" and (seen.back(RATE, 99), seen.ahead(RATE)) == (9, EPISODE - 9)
    assert np.isclose(seen.recorded.times[8], 0) and seen.recorded.layout == "position4"
    assert np.allclose(seen.recorded.values, hand(EPISODE).values + 0.01, atol=1e-6)
    frames = seen.frames(0, 15, RATE).astype(int)
    assert np.abs(frames - ramp(EPISODE)[8:]).mean() < 4
    files = start_files(parse_start(f"{ego_media}/episodes:episode=1"))
    assert [file.name for file in files] == ["info.json", "file-000.parquet", "file-000.mp4"]
    assert all(file.is_file() for file in files)


def test_another_size_is_covered(observation):
    seen = observation("square.png")
    assert seen.frames(0, 0, RATE).shape == (1, *SIZE, 3)


def test_a_file_that_is_there_goes_before_the_grammar_of_starts(ego_media, tmp_path):
    odd = tmp_path / "clip @2:a=b.mp4"
    odd.write_bytes((ego_media / "clip.mp4").read_bytes())
    assert parse_start(str(odd)).path == str(odd) and parse_start(f"{odd}@3").frame == 3
