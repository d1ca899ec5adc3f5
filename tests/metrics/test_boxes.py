import numpy as np
import pytest

from vgen.metrics import box_iou


@pytest.mark.parametrize(
    ("other", "iou"),
    [
        ([0, 0, 2, 2], 1),
        ([1, 0, 3, 2], 1 / 3),
        ([2, 0, 3, 2], 0),
        ([5, 5, 6, 6], 0),
        ([1, 1, 1, 1], 0),
        ([2, 2, 0, 0], 0),
    ],
)
def test_iou_of_boxes(other, iou):
    one = np.array([0, 0, 2, 2])
    assert box_iou(one, np.array(other)) == pytest.approx(iou)
    both = box_iou(np.stack([one, one]), np.stack([np.array(other), one]))
    assert both.tolist() == pytest.approx([iou, 1])


def test_two_empty_boxes_have_nothing_in_common():
    assert box_iou(np.zeros(4), np.zeros(4)) == 0
