from collections import Counter

import numpy as np
import pytest

from vgen.data.schedule import BucketSchedule


def deal(schedule, steps, world):
    """Per step: its bucket, and the clips of all ranks."""
    for index in steps:
        parts = [schedule.rows(index, rank, world) for rank in range(world)]
        assert len({bucket for bucket, _ in parts}) == 1  # the same on every rank
        yield parts[0][0], [row for _, rows in parts for row in rows]


@pytest.mark.parametrize(("batch", "world"), [(1, 1), (2, 1), (2, 3), (4, 8)])
def test_every_clip_once_per_epoch_and_no_bucket_starves(batch, world):
    counts = [31, 5, 18]
    schedule = BucketSchedule(counts, batch, seed=3)
    seen = [Counter() for _ in counts]
    for epoch in range(1, 40):
        steps = range(schedule.steps_before(epoch - 1, world), schedule.steps_before(epoch, world))
        for bucket, rows in deal(schedule, steps, world):
            seen[bucket].update(rows)
        for count, shown in zip(counts, seen, strict=True):
            assert epoch * count - shown.total() in range(batch * world)  # what does not fill a step comes next
            times = [shown[row] for row in range(count)]
            assert max(times) - min(times) <= 1  # nothing twice before all else once


def test_batches_are_a_function_of_their_number_alone():
    first, again = BucketSchedule([31, 5], 2, seed=3), BucketSchedule([31, 5], 2, seed=3)
    forwards = [first.rows(index, 1, 2) for index in range(60)]
    assert forwards == [again.rows(index, 1, 2) for index in reversed(range(60))][::-1]
    other = BucketSchedule([31, 5], 2, seed=4)
    assert forwards != [other.rows(index, 1, 2) for index in range(60)]
    assert first.rows(10**7, 0, 2)[0] in (0, 1)  # far on, at once


def test_order_of_buckets_and_clips_changes_from_epoch_to_epoch():
    schedule = BucketSchedule([20, 20], 2, seed=0)
    epochs = [[schedule.rows(20 * epoch + step, 0, 1) for step in range(20)] for epoch in range(2)]
    assert epochs[0] != epochs[1] and Counter(b for b, _ in epochs[0]) == Counter(b for b, _ in epochs[1])


def test_one_bucket_is_dealt_by_the_global_number_of_the_sample():
    schedule = BucketSchedule([7], 2, seed=1)
    rows = [row for index in range(7) for rank in range(2) for row in schedule.rows(index, rank, 2)[1]]
    expected = [r for turn in range(4) for r in np.random.default_rng((1, turn)).permutation(7)]
    assert rows == expected
    # One rank that takes two batches a step goes through the same clips as two ranks that take one.
    assert rows == [row for index in range(14) for row in schedule.rows(index, 0, 1)[1]]
