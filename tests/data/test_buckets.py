import pytest

from vgen.data.buckets import Bucket, EpisodeInfo, assign_buckets, clip_frames, frame_step, parse_sizes
from vgen.errors import InputError

SIZES = [(384, 672), (672, 384), (512, 512), (240, 416)]


def episode(height=720, width=1280, frames=300, fps=30.0):
    return EpisodeInfo("a.mp4", frames, fps, height, width, "what happens")


def bucket_of(lengths=(17, 49, 77), fps=15, **video):
    (found,) = assign_buckets([episode(**video)], SIZES, lengths, fps).buckets
    return found


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (720, 1280, (384, 672)),
        (384, 672, (384, 672)),  # covered exactly
        (1280, 720, (672, 384)),
        (1080, 1080, (512, 512)),
        (900, 1080, (512, 512)),
        (360, 640, (240, 416)),  # the same aspect, but the larger size would enlarge it
    ],
)
def test_nearest_aspect_and_the_largest_size_that_is_covered(height, width, expected):
    assert bucket_of(height=height, width=width).size == expected


@pytest.mark.parametrize(
    ("frames", "expected"),
    [(153, 77), (152, 49), (97, 49), (96, 17), (33, 17)],  # at half the rate, T frames span 2 (T - 1) + 1
)
def test_the_longest_length_that_fits(frames, expected):
    assert bucket_of(frames=frames).frames == expected


def test_drops_are_counted_by_reason():
    episodes = [
        episode(frames=32),
        episode(frames=20),
        episode(height=200, width=350),
        episode(fps=10.0),
        episode(),
        episode(fps=14.985, frames=77),
    ]
    found = assign_buckets(episodes, SIZES, [17, 77], 15)
    assert found.buckets == [None] * 4 + [Bucket(384, 672, 77)] * 2
    assert found.reasons() == {
        "too short for 17 frames at 15 fps": 2,
        "smaller than its size 240x416": 1,
        "fewer frames a second than data.fps=15": 1,
    }
    assert found.drops[0] == "too short for 17 frames at 15 fps: 32 at 30 fps"
    assert "200x350" in found.drops[2] and set(found.drops) == {0, 1, 2, 3}


def test_frames_of_a_clip_are_those_nearest_to_its_times():
    assert frame_step(30, None) == 1 and frame_step(30, 15) == 2 and frame_step(14.9, 15) == 1
    assert clip_frames(5, 1.0).tolist() == [0, 1, 2, 3, 4]
    assert clip_frames(5, 2.5).tolist() == [0, 3, 5, 8, 10]
    assert clip_frames(9, frame_step(23.976, 16))[-1] == round(8 * 23.976 / 16)


def test_without_sizes_all_videos_have_one():
    assert assign_buckets([episode(), episode()], [], [17], None).buckets == [Bucket(720, 1280, 17)] * 2
    with pytest.raises(InputError, match=r"2 sizes: 720x1280 \(2\), 8x8 \(1\); say data.sizes"):
        assign_buckets([episode(), episode(), episode(height=8, width=8)], [], [17], None)
    with pytest.raises(InputError, match="no video"):
        assign_buckets([], [], [17], None)


def test_sizes_are_height_by_width():
    assert parse_sizes(["384x672", "64 x 32"], 16) == [(384, 672), (64, 32)]
    with pytest.raises(InputError, match="'384' is not HEIGHTxWIDTH"):
        parse_sizes([384], 16)
    with pytest.raises(InputError, match=r"size=380x672 is not a multiple of 16.*nearest: 384x672"):
        parse_sizes(["380x672"], 16)
