import numpy as np
import pytest
from PIL import Image

from vgen.inference.ego.report import contact_sheet, sheet_frames
from vgen.media.sheet import BACKGROUND


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


def test_pictures_of_another_shape_keep_it(tmp_path):
    """A square stays a square beside tiles that are twice as wide as high."""
    square = np.full((50, 50, 3), 200, np.uint8)
    contact_sheet(tmp_path / "sheet.png", "", [("", {0: np.zeros((32, 64, 3), np.uint8)}), ("", {0: square})], 10, {})
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    rows, columns = np.nonzero((sheet == 200).all(2))
    assert abs((rows.max() - rows.min()) - (columns.max() - columns.min())) <= 1
    black = np.argwhere((sheet == 0).all(2))
    assert rows.max() - rows.min() == black[:, 0].max() - black[:, 0].min()
    assert (sheet[rows.max(), columns.max() + 5] == BACKGROUND).all()
