import pytest

from vgen.ego.report import sheet_frames


def test_a_sheet_shows_the_start_the_end_and_goals():
    plain = sheet_frames(33)
    assert plain[0] == 0 and plain[-1] == 32 and 16 not in plain
    shown = sheet_frames(33, [16.0])
    assert 16 in shown and shown[0] == 0 and len(shown) == len(plain) and len(set(shown) & set(plain)) == len(plain) - 1
    assert sheet_frames(3, [1.2]) == [0, 1, 2]


@pytest.mark.parametrize("goals", [[-4.0], [33.0], [0.2]])
def test_what_is_no_frame_of_the_video_changes_nothing(goals):
    assert sheet_frames(33, goals) == sheet_frames(33)


def test_more_goals_than_tiles():
    assert len(sheet_frames(100, range(1, 90))) == len(sheet_frames(100))
