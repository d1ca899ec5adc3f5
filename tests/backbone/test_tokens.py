"""Where the tokens of segments stand, and how they become latents again: counted by hand on a small grid."""

from dataclasses import replace

import pytest
import torch

from vgen.backbone.parallel import TokenSplit
from vgen.backbone.rope import rotary_embedding
from vgen.backbone.segments import KeptTokens, condition, target
from vgen.backbone.tokens import as_latent, condition_lengths, count_of, places_of, rotation_of
from vgen.errors import InputError

PATCH, FRAME = 2, 6  # 2x3 tokens of a latent frame of 4x6 latent pixels
LEFT = [1, 4, 8]


@pytest.fixture
def given():
    return condition(torch.randn(2, 4, 2, 4, 6), torch.tensor([[0.25, 1.5]] * 2, dtype=torch.float64))


@pytest.fixture
def noisy():
    return target(torch.randn(2, 4, 3, 4, 6), torch.tensor([0.75, 0.5]))


def few(segment):
    """The same condition, two tokens of its first frame and one of its second left."""
    return replace(segment, kept=KeptTokens(torch.tensor([LEFT] * 2), (2, 1), None))


def places(*segments):
    return places_of(segments, TokenSplit([count_of(segment, PATCH) for segment in segments]), PATCH)


def test_tokens_of_whole_and_of_pruned_segments_are_counted(given, noisy):
    assert [count_of(segment, PATCH) for segment in (given, noisy, few(given))] == [12, 18, 3]
    assert count_of(given, 1) == 48


def test_a_frame_is_a_condition_and_so_is_a_clip_and_a_target_is_none(given, noisy):
    clip = replace(given, clip=True)
    assert condition_lengths([given, noisy, clip, few(given)], PATCH) == [FRAME, FRAME, 2 * FRAME, 2, 1]


def test_a_token_is_told_its_frame_its_role_and_its_spot(given, noisy):
    found = places(given, noisy)
    assert found.frame.tolist() == [frame for frame in range(5) for _ in range(FRAME)]
    assert found.target.tolist() == [False] * 12 + [True] * 18
    assert found.frames.tolist() == [[0.25, 1.5, 0, 1, 2]] * 2
    torch.testing.assert_close(found.spot[:4], torch.tensor([[1, 1], [1, 3], [1, 5], [3, 1]]) / torch.tensor([4, 6]))


def test_tokens_that_are_kept_stand_where_they_did(given, noisy):
    left = places(few(given), noisy)
    assert left.frame[:3].tolist() == [0, 0, 1]
    assert torch.equal(left.spot[:3], places(given).spot[LEFT])
    for some, whole in zip(rotation_of(few(given), PATCH, 16), rotation_of(given, PATCH, 16), strict=True):
        assert torch.equal(some, whole[:, LEFT])


def test_different_tokens_of_two_videos_have_no_places_of_all(given, noisy):
    unlike = replace(given, kept=KeptTokens(torch.tensor([[0, 8], [1, 8]]), (1, 1), None))
    with pytest.raises(InputError, match=r"prune_conditions=true: .* give one video at a time"):
        places(unlike, noisy)


def test_a_segment_is_turned_by_its_times_and_its_grid(given):
    for found, wanted in zip(rotation_of(given, PATCH, 16), rotary_embedding(given.t, 2, 3, 16), strict=True):
        assert torch.equal(found, wanted)


def test_tokens_are_put_together_as_they_were_cut(noisy):
    cut = noisy.latent.unfold(3, 2, 2).unfold(4, 2, 2).permute(0, 2, 3, 4, 5, 6, 1).flatten(4).flatten(1, 3)
    assert torch.equal(as_latent(cut, noisy, PATCH), noisy.latent)
