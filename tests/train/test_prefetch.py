"""Batches that are made ahead: in order, a few at a time, by threads that take turns quickly."""

import itertools
import sys
import time

import pytest

from vgen.train.prefetch import SWITCH, ahead


def test_what_is_made_comes_in_order_with_its_place():
    def slow(place):
        time.sleep(0.02 if place % 3 == 0 else 0)
        return place * 10

    made = ahead(slow, itertools.count(4), 3)
    assert list(itertools.islice(made, 9)) == [(place, place * 10) for place in range(4, 13)]
    made.close()


def test_no_more_is_under_way_than_asked_for():
    asked = []

    def places():
        for place in itertools.count():
            asked.append(place)
            yield place

    made = ahead(lambda place: place, places(), 2)
    assert next(made) == (0, 0) and asked == [0, 1, 2]
    assert next(made) == (1, 1) and asked == [0, 1, 2, 3]
    made.close()


def test_an_error_of_a_batch_is_that_of_the_step_that_takes_it():
    def make(place):
        if place == 1:
            raise ValueError("of batch 1")
        return place

    before = sys.getswitchinterval()
    made = ahead(make, iter(range(9)), 2)
    assert next(made) == (0, 0)
    with pytest.raises(ValueError, match="of batch 1"):
        next(made)
    assert sys.getswitchinterval() == before


def test_threads_take_turns_quickly_while_batches_are_made_and_as_before_afterwards():
    before = sys.getswitchinterval()
    made = ahead(lambda place: place, itertools.count(), 1)
    next(made)
    assert sys.getswitchinterval() == pytest.approx(SWITCH, rel=0.1) and before > 10 * SWITCH
    made.close()
    assert sys.getswitchinterval() == before
