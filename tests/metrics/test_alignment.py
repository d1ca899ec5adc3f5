import numpy as np
import pytest
import torch

from vgen.metrics import curve_centroid, curve_peak, least_squares_slope, psnr_curve


def tent(peak, height=20.0, fall=1.0, length=17):
    return height - fall * (torch.arange(length, dtype=torch.float64) - peak).abs()


def test_peak_is_the_highest_frame():
    assert curve_peak(torch.stack([tent(5), tent(11), tent(0)])).tolist() == [5, 11, 0]


def test_centroid_of_a_symmetric_curve_is_its_centre_even_between_frames():
    curves = torch.stack([tent(5), tent(5.5), tent(7.0, fall=0.4)])
    assert curve_centroid(curves).tolist() == pytest.approx([5, 5.5, 7])


def test_centroid_leaves_out_what_lies_further_below_the_peak_than_the_window():
    curve = torch.full((1, 17), 10.0, dtype=torch.float64)
    curve[0, 4:7] = torch.tensor([18.5, 20.0, 19.0], dtype=torch.float64)
    curve[0, 12] = 17.4
    weights = np.array([1.0, 2.5, 1.5])
    assert curve_centroid(curve).item() == pytest.approx((weights * [4, 5, 6]).sum() / weights.sum())
    assert curve_centroid(curve, window=3).item() > 5.2


def test_slope_is_that_of_numpy_polyfit():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(3, 9)), generator.normal(size=(3, 9))
    expected = [np.polyfit(a, b, 1)[0] for a, b in zip(x, y, strict=True)]
    assert least_squares_slope(torch.tensor(x), torch.tensor(y)).numpy() == pytest.approx(expected)


@pytest.mark.parametrize("follow", [1.0, 0.5, 0.0])
def test_slope_of_centroid_tells_how_far_a_moving_bar_follows_the_given_frame(follow):
    """A soft bar crosses the picture at one pixel a frame; where it stands in mid-picture moves by `follow` a frame."""
    columns = torch.arange(48.0)

    def bar(position):
        return torch.exp(-((columns - position) ** 2) / 8).expand(3, 8, 48) * 2 - 1

    given = torch.tensor([5.0, 6.0, 7.0, 8.0])
    videos = torch.stack(
        [torch.stack([bar(24 + j - 6.5 - follow * (g - 6.5)) for j in range(17)], dim=1) for g in given]
    )
    centroid = curve_centroid(psnr_curve(videos, bar(24).expand(4, -1, -1, -1)))
    assert least_squares_slope(given, centroid).item() == pytest.approx(follow, abs=0.12)
