"""What a run knows of its episodes: which are held out, and what has changed since its last start."""

import json
import logging
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from tiny_wan import save_tiny_wan

from vgen.backbone.codec import WanCodec
from vgen.data.clips import Clips
from vgen.data.membership import split_as_before, split_episodes
from vgen.data.opening import DataConfig
from vgen.errors import InputError, TryAgain
from vgen.media.writing import write_video
from vgen.train.config import load_config
from vgen.train.loop import train
from vgen.train.objectives.canvas import CanvasConfig, CanvasObjective


def footage(**content):
    """Episodes by name, each with what its frames are; `a="x: a caption"`."""
    keys, captions = zip(*(text.partition(": ")[::2] for text in content.values()), strict=True)
    episodes = [SimpleNamespace(name=name, caption=caption) for name, caption in zip(content, captions, strict=True)]
    return SimpleNamespace(name="videos", keys=list(keys), episodes=episodes)


def many(count):
    return {f"v{number}": f"frames{number}" for number in range(count)}


def split(run, content, share=0.2, kept=None, part="train"):
    """Names of the (trained, held-out) episodes."""
    data = footage(**content)
    kept = range(len(content)) if kept is None else kept
    parts = split_as_before(data, kept, share, run, part)
    return tuple({data.episodes[kept[place]].name for place in places} for places in parts)


def test_the_first_start_chooses_by_place_and_later_ones_keep_it(tmp_path):
    trained, held = split(tmp_path, many(10))
    places = split_episodes(10, 0.2)[1]
    assert held == {f"v{place}" for place in places} and len(trained) == 8
    assert split(tmp_path, dict(reversed(many(10).items()))) == (trained, held)  # whatever the order
    renamed = {f"moved/{name}": frames for name, frames in many(10).items()}
    assert split(tmp_path, renamed) == tuple({f"moved/{name}" for name in part} for part in (trained, held))


def test_what_is_new_is_chosen_by_its_content_and_nothing_else_moves(tmp_path):
    trained, held = split(tmp_path, many(10))
    before = set(split(tmp_path, many(300))[1])
    assert before & set(many(10)) == held and trained & before == set()
    assert 30 <= len(before) <= 90  # about a fifth of the new ones
    fewer = {name: frames for name, frames in many(300).items() if name not in held}
    assert split(tmp_path, fewer)[1] == before - held  # whose removal moves nothing
    assert split(tmp_path, many(300))[1] == before  # as little as that they are back


def test_a_run_with_nothing_to_validate_with_or_to_train_on_says_so(tmp_path, caplog):
    trained, held = split(tmp_path, many(4))
    left = {name: frames for name, frames in many(4).items() if name in trained}
    assert split(tmp_path, left) == (trained, set()) and "no held-out episode of videos is left" in caplog.text
    with pytest.raises(InputError, match="videos: all 1 episodes that are left are held out"):
        split(tmp_path, {name: frames for name, frames in many(4).items() if name in held})
    assert split(tmp_path / "other", many(4), share=0) == (set(many(4)), set())


def test_one_data_set_in_two_parts_of_a_run_is_split_once(tmp_path):
    trained, held = split(tmp_path, many(10), part="canvas")
    assert split(tmp_path, many(10), kept=range(1, 10), part="body") == (trained - {"v0"}, held - {"v0"})


def test_what_a_second_use_of_a_data_set_leaves_out_stays_what_it_was(tmp_path):
    chosen = split(tmp_path, many(40))
    split(tmp_path, many(40), kept=range(10))  # at a lower rate, for which most are too short
    assert split(tmp_path, many(40)) == chosen


def test_an_episode_that_could_not_be_used_is_chosen_when_it_can_be(tmp_path):
    trained, held = split(tmp_path, many(10), kept=range(5))
    later = split(tmp_path, many(10))
    assert trained <= later[0] and held <= later[1]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"v1": "other"}, "of 6 videos 1 changed; "),
        ({"v7": "new", "v8": "newer"}, "of 8 videos 2 new; "),
        ({"v1": "frames1: a caption"}, "of 6 videos 1 with another caption"),
        ({"v1": "other", "v4": None, "v7": "new"}, "of 6 videos 1 changed, 1 new, 1 gone; "),
        ({"v4": None}, "of 5 videos 1 gone"),
        ({}, ""),
    ],
)
def test_what_has_changed_is_told_once(tmp_path, caplog, change, told):
    split(tmp_path, many(6))
    assert not caplog.text
    now = {name: frames for name, frames in (many(6) | change).items() if frames}
    split(tmp_path, now)
    assert f"since the last start of this run: {told}" in caplog.text if told else not caplog.text
    assert len(caplog.records) == bool(told)
    caplog.clear()
    split(tmp_path, now)
    assert not caplog.text


def test_what_is_replaced_under_its_name_stays_on_its_side(tmp_path):
    before = split(tmp_path, many(10))
    assert split(tmp_path, {name: f"encoded anew {frames}" for name, frames in many(10).items()}) == before


def test_copies_on_both_sides_are_told(tmp_path, caplog):
    trained, held = split(tmp_path, many(4) | {"copy": "frames2", "again": "frames3"}, share=0.2)
    assert held == {"v3"} and "1 of 5 trained episodes show the very frames of held-out ones" in caplog.text
    assert split(tmp_path, many(4) | {"copy": "frames2", "again": "frames3"}) == (trained, held)


def test_a_damaged_list_is_one_line(tmp_path):
    split(tmp_path, many(4))
    file = tmp_path / "episodes.json"
    file.write_text(file.read_text().replace("false", "true ", 1))
    with pytest.raises(InputError, match=r"episodes\.json says which episodes are held out, and cannot be read"):
        split(tmp_path, many(4))
    file.unlink()
    file.mkdir()
    with pytest.raises(InputError, match=r"episodes\.json says which episodes are held out"):
        split(tmp_path, many(4))


@pytest.fixture
def config(tmp_path):
    """A canvas on twelve videos with captions."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for number in range(12):
        save(folder / f"{number:02}.mp4", number)
    save_tiny_wan(tmp_path / "wan")
    data = DataConfig(videos=str(folder), cache=str(tmp_path / "cache"), held_out=0.2)
    return CanvasConfig(
        data=data,
        latents=str(tmp_path / "cache"),
        latent_workers=1,
        pretrained=str(tmp_path / "wan"),
        frames=5,
        batch=2,
        validation_clips=4,
    )


def save(path, content):
    write_video(path, np.random.default_rng(content).integers(0, 255, (5, 32, 32, 3), dtype=np.uint8), 10)
    path.with_suffix(".txt").write_text(f"video {content}")


@pytest.fixture
def start(config, tmp_path, monkeypatch):
    """Starts the run: its objective, and the names of the videos that were encoded for it."""
    encoded, pixels = [], Clips.pixels

    def noted(self, number, frames=None):
        encoded.append(self.episode(number).name)
        return pixels(self, number, frames)

    monkeypatch.setattr(Clips, "pixels", noted)

    def prepared():
        encoded.clear()
        objective = CanvasObjective(config, seed=1)
        objective.bad_data = tmp_path / "run" / "bad_data.jsonl"
        objective.prepare()
        return objective, list(encoded)

    return prepared


def latents(objective):
    """By the name of the video, its latent."""
    return {
        clips._clips.episode(number).name: clips._latents[0][row]
        for clips in (objective.canvases.sets[0].train, objective.canvases.sets[0].held)
        for number, row in zip(clips._numbers[0], clips._rows[0], strict=True)
    }


def test_only_what_has_changed_is_encoded_anew(config, start, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    first, encoded = start()
    assert len(encoded) == 12 and start()[1] == []
    folder = tmp_path / "videos"
    held = {
        first.canvases.sets[0].data.held_out.episode(n).name for n in first.canvases.sets[0].data.held_out.windows()
    }
    save(folder / "03.mp4", 103)
    save(folder / "20.mp4", 20)
    save(folder / "21.mp4", 21)
    (folder / "05.txt").write_text("quite another caption")
    (folder / "07.mp4").unlink()
    moved = shutil.move(folder, tmp_path / "moved" / "videos")
    config.data.videos = str(moved)
    caplog.clear()
    second, encoded = start()
    assert sorted(encoded) == ["03.mp4", "20.mp4", "21.mp4"]
    assert "of 13 videos 1 changed, 2 new, 1 gone, 1 with another caption; " in caplog.text
    assert "embedding captions: 4 of 14 are made" in caplog.text  # of 3 videos, and the one that was edited
    before, after = latents(first), latents(second)
    assert all(np.array_equal(before[name], after[name]) for name in before.keys() - {"03.mp4", "07.mp4"})
    assert not np.array_equal(before["03.mp4"], after["03.mp4"])
    now = {
        second.canvases.sets[0].data.held_out.episode(n).name for n in second.canvases.sets[0].data.held_out.windows()
    }
    new = {"03.mp4", "20.mp4", "21.mp4", "07.mp4"}
    assert now - new == held - new


def test_a_file_that_has_changed_and_is_as_large_as_before_is_encoded_anew(start, tmp_path):
    start()
    path = tmp_path / "videos" / "04.mp4"
    data = bytearray(path.read_bytes())
    data[-30] ^= 1  # in the last frame, so that it can still be decoded
    path.write_bytes(data)
    assert start()[1] == ["04.mp4"]


def test_a_latent_that_breaks_while_training_stops_with_its_name_and_is_made_anew(config, start, tmp_path):
    recipe = {"run": str(tmp_path / "run"), "steps": 4, "log_every": 1, "objective": OmegaConf.structured(config)}
    OmegaConf.save(OmegaConf.create(recipe), tmp_path / "recipe.yaml")
    objective, _ = start()
    whole = latents(objective)
    for file in (tmp_path / "cache" / "latents").rglob("rows.bin"):
        file.write_bytes(bytes(byte ^ 1 for byte in file.read_bytes()))
    with pytest.raises(TryAgain, match=r"the latent of \d\d\.mp4, from frame 0 on: .*rows\.bin is not what was"):
        objective.batch(0, 0, 1, 0.0)
    again, encoded = start()
    assert len(encoded) == 12
    assert all(np.array_equal(whole[name], latent) for name, latent in latents(again).items())
    assert train(load_config(tmp_path / "recipe.yaml")) == tmp_path / "run"


def test_a_latent_that_is_not_finite_is_a_bad_clip_with_its_name(config, start, tmp_path, monkeypatch, caplog):
    config.data.max_bad_share, encode = 0.2, WanCodec.encode_video
    calls = []

    def overflowing(self, video):
        latent = encode(self, video)
        calls.append(0)
        if len(calls) == 1:
            latent[1, 0, 0, 0, 0] = 70000  # more than float16 holds
            latent[2, 0, 0, 0, 0] = torch.nan
        return latent

    monkeypatch.setattr(WanCodec, "encode_video", overflowing)
    objective, _ = start()
    assert (
        sorted(objective.canvases.sets[0].data.bad.found.values()) == ["its latent is not finite, from frame 0 on"] * 2
    )
    assert (
        "left out: " in caplog.text
        and len(objective.canvases.sets[0].train) + len(objective.canvases.sets[0].held) == 10
    )
    lines = (tmp_path / "run" / "bad_data.jsonl").read_text().splitlines()
    assert {json.loads(line)["reason"] for line in lines} == {"its latent is not finite, from frame 0 on"}
    assert all(np.isfinite(latent).all() for latent in latents(objective).values())
