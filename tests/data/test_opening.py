import json

import numpy as np
import pytest
import torch
from tiny_parts import CODEC

from vgen.data.opening import DataConfig, open_data, parse_lengths, split_episodes
from vgen.errors import InputError
from vgen.media.writing import write_video
from vgen.train.objectives.codec import CodecConfig, CodecObjective


@pytest.fixture
def config(tmp_path):
    """Ten videos of 16x32, three of which are no good: one broken, one without a caption, one too short."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for number in range(10):
        frames = 4 if number == 7 else 9 + number % 2
        video = np.random.default_rng(number).integers(0, 255, (frames, 16, 32, 3), dtype=np.uint8)
        write_video(folder / f"{number}.mp4", video, 10)
        if number != 5:
            (folder / f"{number}.txt").write_text(f"video {number}")
    (folder / "3.mp4").write_bytes(b"no video")
    return DataConfig(
        videos=str(folder), cache=str(tmp_path / "cache"), sizes=["16x16"], held_out=0.2, max_bad_share=0.2
    )


def test_what_is_left_out_is_counted_and_written_and_the_rest_is_used(config, tmp_path, caplog):
    data = open_data(config, [5, 9], 8, report=tmp_path / "run" / "bad_data.jsonl")
    assert data.bad.found == {"3.mp4": "not a readable video file (Invalid data found when processing input)"} | {
        "5.mp4": "no caption"
    }
    lines = (tmp_path / "run" / "bad_data.jsonl").read_text().splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["3.mp4", "5.mp4"]
    assert "1 of 10 videos dropped: too short for 5 frames" in caplog.text
    names = [{clips.episode(n).name for n in range(len(clips))} for clips in (data.train, data.held_out)]
    assert names[0] | names[1] == {f"{n}.mp4" for n in (0, 1, 2, 4, 6, 8, 9)} and not names[0] & names[1]
    assert data.train.pixels(0).shape == (9, 16, 16, 3)


def test_a_caption_that_cannot_be_read_counts_where_captions_are_needed(config, tmp_path):
    (tmp_path / "videos" / "5.txt").write_bytes("ein\nKäfer".encode("latin-1"))
    bad = open_data(config, [5, 9], 8).bad.found
    assert bad["5.mp4"] == "its .txt, line 2: not UTF-8 but another encoding; save it as UTF-8"
    assert list(open_data(config, [5, 9], 8, captions=False).bad.found) == ["3.mp4"]


def test_too_much_of_it_is_one_clear_error(config):
    config.max_bad_share = 0.1
    with pytest.raises(InputError, match=r"^2 of 10 videos cannot be used, more than data.max_bad_share=0.1: 3.mp4"):
        open_data(config, [5], 8)
    config.max_bad_share = 0.2
    with pytest.raises(
        InputError, match=r"none of 10 videos can be used: .*too short for 21 frames; the longest has 10"
    ):
        open_data(config, [21], 8)
    config.captions = config.videos + ".csv"
    with pytest.raises(InputError, match=r"videos\.csv cannot be read"):
        open_data(config, [5], 8)
    with pytest.raises(InputError, match=r"^data\.captions=.* is read with data\.videos alone"):
        open_data(DataConfig(dataset="somewhere", captions=config.captions), [5], 8)
    config.dataset = "somewhere"
    with pytest.raises(InputError, match="name one of the two"):
        open_data(config, [5], 8)


def test_no_episode_needs_to_be_held_out(config):
    config.held_out = 0.0
    data = open_data(config, [5], 8)
    assert len(data.held_out) == 0 and data.held_out.windows() == [] and len(data.train.places) == 7
    assert split_episodes(1, 0.0) == ([0], [])


def test_lengths_are_one_or_several():
    assert parse_lengths(17, 4) == [17] and parse_lengths([49, 17, 17], 4) == [17, 49]
    for wrong, message in (("many", "frames=many is neither"), ([], "neither"), ([17, 18], "nearest: 17, 21")):
        with pytest.raises(InputError, match=message):
            parse_lengths(wrong, 4)


def test_a_video_that_fails_in_training_is_replaced_alike_by_every_rank(config, tmp_path):
    """The codec, which needs no captions."""

    def objective():
        objective = CodecObjective(codec, seed=1)
        objective.prepare()
        return objective

    config.max_bad_share = 0.5
    codec = CodecConfig(data=config, model=CODEC, frames=5, clips_per_batch=2, images_per_batch=2, image_share=0.0)
    before = objective()
    assert "5.mp4" not in before.sets[0].data.bad
    whole = [before.batch(step, 0, 2, 0.5).video for step in range(12)]
    first, second = objective(), objective()
    (tmp_path / "videos" / "0.mp4").write_bytes(b"gone bad")
    batches = [first.batch(step, 0, 2, 0.5).video for step in range(12)]
    later = [second.batch(step, 0, 2, 0.5).video for step in reversed(range(12))][::-1]
    assert all(torch.equal(one, other) for one, other in zip(batches, later, strict=True))
    assert any(not torch.equal(one, other) for one, other in zip(batches, whole, strict=True))
    assert [batch.shape for batch in batches] == [batch.shape for batch in whole]
    assert "0.mp4" in first.sets[0].data.bad and "2 of 10 videos could not be used" in first.data_summary()
