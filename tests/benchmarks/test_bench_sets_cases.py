"""Tests of the cases of a bench: the paper's numbers, its frames, and scenes that have nothing in common."""

from collections import Counter

import pytest
from bench_sets.cases import BenchClip, make_cases
from bench_sets.patches import CutOut
from bench_sets.scenes import Scene, draw_unrelated
from bench_sets.settings import BuildSettings

from vgen.canvas.spec import Canvas
from vgen.errors import InputError


def bench_clips(count, settings):
    box = (0.25, 0.25, 0.75, 0.75)
    return [
        BenchClip(
            number,
            f"clips/{number:04d}.mkv",
            Scene(f"{number}.mp4", f"Scene {number}."),
            {a: CutOut(f, f"media/{number}-{f}.png", box, "crop", False) for a, f in settings.anchors.items()},
            {"inpainting": f"media/{number}-in.png", "outpainting": f"media/{number}-out.png"},
        )
        for number in range(count)
    ]


def test_a_hundred_clips_give_the_numbers_of_the_paper():
    settings = BuildSettings()
    cases = make_cases(bench_clips(100, settings), settings)
    assert Counter(case["group"] for case in cases) == {"AnyP2V": 900, "AnyI2V": 900, "AnyV2V": 230}
    kinds = Counter(case["kind"] for case in cases if case["group"] == "AnyI2V")
    assert kinds["first-middle-last"] == 100 and kinds["unrelated-first-last"] == 50
    assert kinds["unrelated-first-middle-last"] == 50
    transitions = [case for case in cases if case["kind"] == "transition"]
    assert len(transitions) == 30 and all(case["truth"] is None for case in transitions)
    assert len({case["name"] for case in cases}) == len(cases)
    assert [case["canvas"]["seed"] for case in cases] == list(range(len(cases)))


def test_each_case_is_a_canvas():
    settings = BuildSettings(frames=17, height=32, width=48)
    cases = {case["name"]: case for case in make_cases(bench_clips(4, settings), settings)}
    canvases = {name: Canvas.from_dict(case["canvas"], base="bench") for name, case in cases.items()}
    images = canvases["anyi2v/0002-0-16"]
    assert [(str(p.source), p.frame, p.range) for p in images.patches] == [
        ("bench/clips/0002.mkv", 0, (0, 0)),
        ("bench/clips/0002.mkv", 16, (16, 16)),
    ]
    assert (images.height, images.width) == (32, 48)
    assert images.prompt == "Scene 2."
    patch = canvases["anyp2v/0002-8"].patches[0]
    assert (str(patch.source), patch.frame, patch.box) == ("bench/media/2-8.png", 8, (0.25, 0.25, 0.75, 0.75))
    name, transition = next((name, each) for name, each in canvases.items() if name.endswith("transition"))
    first, last = transition.patches
    assert (first.frame, first.range, last.frame, last.range) == (0, (0, 4), 12, (12, 16))
    one, other = (int(number) for number in name.removeprefix("anyv2v/").removesuffix("-transition").split("+"))
    assert transition.prompt == f"Scene {one}; then Scene {other}"


@pytest.mark.parametrize(("frames", "middle", "ends"), [(77, 40, 21), (17, 8, 5), (9, 4, 5), (33, 16, 9)])
def test_frames_that_are_given_lie_as_in_the_paper(frames, middle, ends):
    settings = BuildSettings(frames=frames)
    assert settings.anchors == {"first": 0, "middle": middle, "last": frames - 1}
    assert settings.ends == ends and 2 * ends < frames + 2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"frames": 5}, "frames=5 leaves no middle frame; nearest: 9"),
        ({"frames": 18}, "nearest: 17"),
        ({"height": 100}, "100"),
        ({"clips": 0}, "clips=0 must lie in 1"),
        ({"min_flow": -1}, "min_flow=-1 must lie in 0"),
        ({"pairs": -1}, "pairs=-1"),
    ],
)
def test_options_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        BuildSettings(**wrong)


def test_unrelated_scenes_share_neither_a_recording_nor_a_caption():
    scenes = [Scene(f"{n // 2}.mp4", ("open", "close", "")[n % 3]) for n in range(12)]
    groups = draw_unrelated(scenes, 3, 20, (0, 3))
    assert groups == draw_unrelated(scenes, 3, 20, (0, 3))
    assert len({frozenset(group) for group in groups}) == len(groups) == 20
    for group in groups:
        assert len({scenes[n].recording for n in group}) == 3
        told = [scenes[n].caption for n in group if scenes[n].caption]
        assert len(set(told)) == len(told)


def test_there_are_no_more_pairs_than_there_can_be():
    scenes = [Scene("a.mp4", ""), Scene("a.mp4", ""), Scene("b.mp4", "")]
    assert sorted(map(sorted, draw_unrelated(scenes, 2, 5, (0,)))) == [[0, 2], [1, 2]]
    assert draw_unrelated(scenes, 3, 5, (0,)) == []
    assert draw_unrelated(scenes[:1], 2, 5, (0,)) == []


def test_other_frames_than_the_papers_can_be_given():
    settings = BuildSettings(frames=17, height=128, width=128, given=(2, 9, 15))
    assert settings.anchors == {"first": 2, "middle": 9, "last": 15}
    assert settings.to_dict()["given"] == (2, 9, 15)
    assert "given" not in BuildSettings().to_dict(), "benches of the paper's frames stay as they are"
    for given in ((0, 8, 17), (4, 4, 8), (-1, 3, 5)):
        with pytest.raises(InputError, match="must be three frames in order, of 0 to 16"):
            BuildSettings(frames=17, height=128, width=128, given=given)
