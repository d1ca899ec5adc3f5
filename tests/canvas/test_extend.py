import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vgen.canvas.extend import extend, loop
from vgen.canvas.placed import place
from vgen.canvas.report import nearest_frame
from vgen.canvas.spec import Canvas, Patch
from vgen.errors import InputError
from vgen.media.pixels import to_uint8

CANVAS = Canvas(17, 32, 32, prompt="a cat", patches=(Patch(np.full((32, 32, 3), 7, np.uint8)),))


class FakePipeline:
    """Makes noise, except where a patch is given; remembers what it was asked for."""

    def __init__(self):
        self.given, self.frames, self.prompts = [], [], []

    def __call__(self, canvas, *, generator=None):
        video = torch.randint(0, 256, (canvas.frames, canvas.height, canvas.width, 3), generator=generator)
        video = video.to(torch.uint8).numpy()
        placed = place(canvas).patches
        for one in placed:
            video[nearest_frame(one.frame)] = to_uint8(one.pixels).permute(1, 2, 0).numpy()
        self.given.append({int(one.frame): to_uint8(one.pixels).permute(1, 2, 0).numpy() for one in placed})
        self.frames.append(canvas.frames)
        self.prompts.append(canvas.prompt)
        return SimpleNamespace(video=video, prompt="still" if canvas.prompt is None else canvas.prompt)


def join(parts) -> np.ndarray:
    return np.concatenate(list(parts))


@pytest.mark.parametrize("total", [17, 18, 29, 30, 100])
def test_each_segment_is_given_the_frames_before_it(total):
    pipeline = FakePipeline()
    video = join(extend(pipeline, CANVAS, total, overlap=5, generator=torch.Generator().manual_seed(0)))
    assert video.shape == (total, 32, 32, 3) and video.dtype == np.uint8
    assert set(pipeline.frames) == {17} and set(pipeline.prompts) == {"a cat"}
    assert len(pipeline.given) == 1 + -(-(total - 17) // 12)
    assert sorted(pipeline.given[0]) == [0]
    for segment, given in enumerate(pipeline.given[1:]):
        start = 12 + 12 * segment  # where the segment begins in the whole video
        assert sorted(given) == [0, 1, 2, 3, 4]
        assert all(np.array_equal(image, video[start + frame]) for frame, image in given.items())


@pytest.mark.parametrize("total", [18, 24, 25, 36, 37, 100])
def test_a_loop_closes_on_its_first_frames(total):
    pipeline = FakePipeline()
    video = join(loop(pipeline, CANVAS, total, overlap=5, generator=torch.Generator().manual_seed(0)))
    assert len(video) == total
    closing = pipeline.given[-1]
    assert [frame for frame in sorted(closing) if frame >= 12] == [12, 13, 14, 15, 16]
    for frame, image in closing.items():  # the whole video, played over and over, around its end
        assert np.array_equal(image, video[(total - 12 + frame) % total])
    assert sum(frame < 12 for frame in closing) >= 5


def test_a_seed_gives_the_same_video():
    first, second, other = (
        join(extend(FakePipeline(), CANVAS, 40, generator=torch.Generator().manual_seed(seed))) for seed in (3, 3, 4)
    )
    assert np.array_equal(first, second) and not np.array_equal(first, other)


@pytest.mark.parametrize("make", [extend, loop])
def test_memory_does_not_grow_with_the_length(make):
    canvas = Canvas(17, 64, 64)

    def peak(total: int) -> int:
        tracemalloc.start()
        for _ in make(
            lambda canvas, generator: SimpleNamespace(video=np.zeros((17, 64, 64, 3), np.uint8), prompt=""),
            canvas,
            total,
        ):
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(1500) < 1.2 * peak(60) and peak(1500) < 1500 * 64 * 64 * 3 / 5


def test_frames_come_before_the_next_segment_is_made():
    pipeline = FakePipeline()
    parts = extend(pipeline, CANVAS, 1000)
    assert len(next(parts)) == 17 and len(pipeline.given) == 1
    assert len(next(parts)) == 12 and len(pipeline.given) == 2


@pytest.mark.parametrize(
    "make, total, overlap, message",
    [
        (extend, 16, 5, "total_frames=16 must lie in 17 to 1000000; nearest: 17"),
        (extend, 40, 17, "overlap=17 must lie in 1 to 16; nearest: 16"),
        (extend, 40, 0, "overlap=0"),
        (extend, 40.5, 5, "total_frames=40.5 must be a whole number"),
        (loop, 17, 5, "total_frames=17 must lie in 18 to 1000000; nearest: 18"),
        (loop, 40, 9, "overlap=9 must lie in 1 to 8; nearest: 8"),
    ],
)
def test_what_does_not_fit(make, total, overlap, message):
    with pytest.raises(InputError, match=message):
        next(make(FakePipeline(), CANVAS, total, overlap))
