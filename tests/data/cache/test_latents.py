import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan
from tiny_parts import tiny_codec

from vgen.backbone.codec import WanCodec
from vgen.data.buckets import Bucket, assign_buckets
from vgen.data.cache.frames import EpisodeFrames, FrameCache
from vgen.data.cache.latents import CLIPS_AT_ONCE, LatentCache, clips_at_once
from vgen.data.clips import Clips
from vgen.errors import InputError
from vgen.media.pixels import to_unit


@pytest.fixture
def clips(tmp_path):
    def read(episode):
        pixels = np.random.default_rng(episode).integers(0, 255, (9, 16, 16, 3), dtype=np.uint8)
        return EpisodeFrames(pixels, f"episode {episode}")

    cache = FrameCache.write(tmp_path / "frames", range(2), [9] * 2, read, (16, 16), 10.0)
    return Clips(cache, assign_buckets(cache.episodes, [], [5], None).buckets)


@pytest.fixture
def codec(tmp_path):
    tiny_codec(latents_mean=[0.1] * 4, latents_std=[2.0] * 4).save_pretrained(tmp_path / "vae")
    return tmp_path / "vae"


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_it_holds_what_the_codec_makes_of_the_clips(clips, codec, tmp_path):
    cache = LatentCache.of_clips(clips, [0, 3, 7], codec, tmp_path / "latents")
    assert len(cache) == 3 and cache.bad == {}
    assert cache[0].shape == (4, 2, 2, 2) and cache[0].dtype == np.float16
    video = to_unit(torch.from_numpy(clips.pixels(3))).permute(3, 0, 1, 2)[None]
    expected = WanCodec(AutoencoderKLWan.from_pretrained(codec)).encode_video(video)[0]
    np.testing.assert_allclose(cache[1], expected, atol=0.02)  # encoded in bfloat16


def test_it_is_made_once_and_anew_for_another_codec(clips, codec, tmp_path):
    first = LatentCache.of_clips(clips, [0, 3], codec, tmp_path / "latents")
    kept = files(first.folder)
    again = LatentCache.of_clips(clips, [3, 0], codec, tmp_path / "latents")
    assert again.folder == first.folder and files(first.folder) == kept
    assert np.array_equal(again[0], first[1])
    vae = AutoencoderKLWan.from_pretrained(codec)
    torch.nn.init.zeros_(vae.quant_conv.bias)
    vae.save_pretrained(codec)
    assert LatentCache.of_clips(clips, [0, 3], codec, tmp_path / "latents").folder != first.folder


def test_several_processes_write_the_same(clips, codec, tmp_path):
    numbers = list(range(10))
    one = LatentCache.of_clips(clips, numbers, codec, tmp_path / "one")
    two = LatentCache.of_clips(clips, numbers, codec, tmp_path / "two", workers=2)
    assert all(np.array_equal(one[row], two[row]) for row in numbers)
    assert {path.name for path in two.folder.glob("*/*")} == {"index.json", "rows.bin"}  # nothing half written is left


def test_after_a_kill_only_what_is_left_is_encoded(clips, codec, tmp_path, monkeypatch):
    numbers, encoded = list(range(10)), []
    whole = LatentCache.of_clips(clips, numbers, codec, tmp_path / "whole")
    pixels = Clips.pixels

    def dying(self, number, frames=None):
        if len(encoded) == 6:
            raise KeyboardInterrupt
        encoded.append(number)
        return pixels(self, number, frames)

    monkeypatch.setattr(Clips, "pixels", dying)
    with pytest.raises(KeyboardInterrupt):
        LatentCache.of_clips(clips, numbers, codec, tmp_path / "latents")
    monkeypatch.setattr(Clips, "pixels", lambda *given: encoded.append(given[1]) or pixels(*given))
    encoded.clear()
    cache = LatentCache.of_clips(clips, numbers, codec, tmp_path / "latents")
    assert encoded == list(range(4, 10))  # the first batch of 4 was done
    assert all(np.array_equal(cache[row], whole[row]) for row in numbers)


def test_a_clip_that_cannot_be_decoded_is_noted_and_the_others_encoded(clips, codec, tmp_path, monkeypatch):
    whole = LatentCache.of_clips(clips, [0, 3, 7], codec, tmp_path / "whole")
    read = FrameCache.read

    def damaged(self, episode, frames):
        if episode == 1:
            raise InputError("b.mp4: cannot be decoded")
        return read(self, episode, frames)

    monkeypatch.setattr(FrameCache, "read", damaged)
    cache = LatentCache.of_clips(clips, [0, 3, 7], codec, tmp_path / "latents")
    assert cache.bad == {2: "b.mp4: cannot be decoded"}
    for row in (0, 1):
        np.testing.assert_allclose(cache[row], whole[row], atol=1e-3)


def test_a_gpu_encodes_many_small_clips_at_once_and_large_ones_of_a_wide_codec_in_chunks(monkeypatch):
    nano, wan = {"base_dim": 32, "patch_size": 4}, {"base_dim": 96, "patch_size": None}
    assert clips_at_once(Bucket(384, 672, 77), wan) == (CLIPS_AT_ONCE, False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert clips_at_once(Bucket(128, 128, 17), nano) == (60, False)
    assert clips_at_once(Bucket(128, 128, 17), wan) == (1, False)
    assert clips_at_once(Bucket(384, 672, 77), wan) == (1, True)
