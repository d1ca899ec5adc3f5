from bench_common.episodes import SplitEpisode
from canvas_suite.clips import choose


def episodes():
    tasks = ["push", "push", "push", "reach", "reach", "door"]
    return [SplitEpisode(number, 40 + number, task) for number, task in enumerate(tasks)]


def test_episodes_take_turns_by_task_and_give_their_middle():
    places = choose(episodes(), 4, span=20)
    assert [(p.episode, p.task) for p in places] == [(5, "door"), (0, "push"), (3, "reach"), (1, "push")]
    assert [p.start for p in places] == [12, 10, 11, 10]


def test_later_rounds_take_quarters_and_the_choice_for_fewer_is_its_beginning():
    places = choose(episodes(), 15, span=20)
    assert choose(episodes(), 7, span=20) == places[:7]
    assert [p.start for p in places if p.episode == 0] == [10, 5, 15]


def test_short_episodes_give_nothing():
    assert {p.episode for p in choose(episodes(), 100, span=43)} == {3, 4, 5}
    assert choose(episodes(), 4, span=99) == []


def test_every_possible_clip_is_chosen_once_when_enough_are_wanted():
    places = choose(episodes()[:1], 100, span=36)
    assert sorted(p.start for p in places) == [0, 1, 2, 3]
