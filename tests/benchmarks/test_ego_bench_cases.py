"""Which recordings are played, how far, and from where."""

import json
from pathlib import Path

import pytest
import torch
from ego_bench_fakes import SIZE, case, group, record
from ego_suite.bodies import all_bodies, choose_bodies
from ego_suite.cases import START, batches, made_frames, read_cases, read_groups, truth_of

from vgen.errors import InputError


@pytest.fixture(scope="module")
def body(tmp_path_factory):
    return record(tmp_path_factory.mktemp("data"))


def test_a_case_reaches_as_far_as_its_recording_and_no_further(body):
    cases = read_cases(body, "test", 9, 4, 5)
    assert {c.name: c.reach for c in cases} == {"episode 2": 8, "episode 3": 64, "episode 4": 16}
    assert [(c.text, c.seed) for c in cases] == [("slide 0", 5), ("slide 1", 6), ("slide 0", 7)]
    for c in cases:
        assert c.video.shape == (3, START + 1 + c.reach, SIZE, SIZE)
        assert len(c.trajectory) == START + 1 + made_frames(c.reach, 4)
        bright = (c.video[0, START:].float().mean(1) > 60).float()
        edge = bright.argmax(1)  # the first bright column is where the trajectory says
        assert (edge - torch.from_numpy(c.trajectory.values[START : START + 1 + c.reach, 0])).abs().max() < 1
    assert [c.name for c in read_cases(body, "test", 9, 16, 0)] == ["episode 3", "episode 4"]
    assert len(read_cases(body, "test", 1, 4, 0)) == 1


def test_batches_hold_one_reach_each():
    mixed = [case(reach=64, name="a"), case(reach=8, name="b"), case(reach=64, name="c"), case(reach=64, name="d")]
    assert [[c.name for c in batch] for batch in batches(mixed, 2)] == [["a", "c"], ["d"], ["b"]]
    assert truth_of(mixed[1:2]).shape == (1, 3, 9, SIZE, SIZE)


def test_groups_share_their_start_and_their_noise(body):
    groups = read_groups(body, "test", 9, 16, 3)
    assert [[c.kind for c in members] for members in groups] == [["expert", "mirrored", "raised", "stopped"]] * 2
    assert [{c.seed for c in members} for members in groups] == [{3}, {4}]
    for members in groups:
        assert all(torch.equal(c.video[:, : START + 1], members[0].video[:, : START + 1]) for c in members)
        assert not torch.equal(members[0].video, members[1].video)
    assert len(read_groups(body, "test", 1, 16, 0)) == 1


def test_what_has_no_groups_or_no_long_episode_says_so(body):
    swapped = type(body)(body.name, body.counterfactuals, body.data, body.layout, body.record)
    with pytest.raises(InputError, match=r"has no groups that part at frame 16; record them with: record\.py --groups"):
        read_groups(swapped, "test", 1, 4, 0)
    with pytest.raises(InputError, match=r"no episode of .*data \(test\) goes on for 100 frames after frame 16"):
        read_cases(body, "test", 1, 100, 0)


RECORDED = {"m": ("train", "test", "unseen"), "mc": ("train", "test"), "a": ("train", "test"), "ac": ("train", "test")}
TWO = all_bodies(*map(Path, RECORDED))


@pytest.fixture
def there(monkeypatch, tmp_path):
    """Puts data sets of these names, with their splits, into the working folder; they hold nothing else."""
    monkeypatch.chdir(tmp_path)

    def put(**splits: tuple[str, ...]) -> None:
        for name, of_it in splits.items():
            (tmp_path / name / "meta").mkdir(parents=True)
            info = {"codebase_version": "v3.0", "features": {}, "splits": dict.fromkeys(of_it, "0:1")}
            (tmp_path / name / "meta/info.json").write_text(json.dumps(info))

    return put


def chosen(names, split, groups=False):
    return [body.name for body in choose_bodies(TWO, names, split, groups)]


@pytest.mark.parametrize(
    ("names", "split", "missing", "message"),
    [
        (None, "test", "a", "a is not there; record it with: vgen record adroit --out a, or leave"),
        (None, "test", "mc", "mc is not there; .*vgen record metaworld --counterfactuals 4 .* --bodies adroit"),
        ("metaworld", "seen", "", "have split=seen: m has train, test, unseen$"),
        ("metaworld,adroit", "unseen", "", "have split=unseen: a has train, test$"),
        (None, "seen", "", "have split=seen: m has train, test, unseen; a has train, test$"),
        ("metaworld", "unseen", "", "unseen has no counterfactuals of metaworld: mc has train, test; leave counterf"),
        ("adriot", "test", "", "nearest: 'adroit'"),
    ],
)
def test_a_body_that_cannot_be_looked_at_is_refused_in_one_line(there, names, split, missing, message):
    there(**{name: splits for name, splits in RECORDED.items() if name != missing})
    with pytest.raises(InputError, match=message):
        chosen(names, split, groups=True)


def test_bodies_are_those_that_have_the_split_and_folders_count_where_they_are_needed(there):
    there(m=RECORDED["m"], a=RECORDED["a"])
    assert chosen(None, "test") == ["metaworld", "adroit"]
    assert chosen(None, "unseen") == ["metaworld"]
    assert chosen("adroit", "test") == ["adroit"]


def test_a_body_that_has_no_other_splits_need_not_be_there_for_one(there):
    there(m=RECORDED["m"])
    assert chosen(None, "unseen") == ["metaworld"]
    with pytest.raises(InputError, match="a is not there"):
        chosen("metaworld,adroit", "unseen")


def test_a_split_may_have_any_name_that_the_data_set_has(there):
    there(m=("train", "varied"), a=RECORDED["a"])
    assert chosen(None, "varied") == chosen("metaworld", "varied") == ["metaworld"]


def test_a_group_of_the_tests_parts_where_groups_part():
    assert len({tuple(c.trajectory.values[START + 1]) for c in group()}) == 4
