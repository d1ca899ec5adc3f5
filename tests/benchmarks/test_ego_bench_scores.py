"""What the sections make of videos whose answers are known."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ego_bench_fakes import SIZE, SQUARE, case, group, played, positions, record
from ego_suite import tracker as tracking_network
from ego_suite.cases import START, truth_of
from ego_suite.counterfactual import Obedience, differing_pixels, distances
from ego_suite.forward import ForwardScores
from ego_suite.sheets import ForwardSheets, FutureSheets
from ego_suite.tracker import HandTracker, load_tracker
from ego_suite.tracking import Tracking
from PIL import Image

from vgen.errors import InputError
from vgen.metrics import PSNR_CAP


def test_forward_scores_are_those_of_the_frame_at_the_horizon():
    cases = [case(0.5), case(0.0, name="still")]
    spoiled = truth_of(cases)
    spoiled[:, :, 9:] += 0.2  # what comes after frame 8 does not count there
    scores = ForwardScores()
    scores(played(cases, model=spoiled))
    scores(played([case(0.5, reach=8, name="short")]))
    found = scores.summary()
    assert list(found) == ["1", "4", "8", "16", "32", "64"]
    assert (found["8"]["n"], found["16"]["n"]) == (3, 2) and found["8"]["cases"] == ["episode 0", "still", "short"]
    assert found["8"]["means"]["model"] == pytest.approx(
        {"psnr": PSNR_CAP, "ssim": 1, "psnr_moving": PSNR_CAP}, abs=1e-3
    )
    assert found["16"]["means"]["model"]["psnr"] == pytest.approx(20)
    # the still case has no moving pixels, at any horizon
    assert found["16"]["n_moving"] == 1 and np.isnan(found["16"]["per_case"]["model"]["psnr_moving"][1])
    copy = found["16"]["means"]["copy"]
    assert copy["psnr_moving"] < 10 < copy["psnr"] and found["16"]["per_case"]["copy"]["psnr"][1] == PSNR_CAP


def test_moving_pixels_are_those_that_have_moved_until_the_horizon():
    one = case(0.5)
    made = truth_of([one])
    made[..., :2] = 1.0  # a place that the square never visits
    scores = ForwardScores()
    scores(played([one], model=made))
    found = scores.summary()["64"]["means"]["model"]
    assert found["psnr_moving"] == PSNR_CAP and found["psnr"] < 40


def test_videos_that_follow_their_trajectory_obey_and_others_do_not():
    members = group()
    truth, obeying, other = truth_of(members), Obedience(), Obedience()
    obeying(played(members, model=truth + 0.1 * torch.randn_like(truth)))
    other(played(members, model=truth.roll(1, 0)))
    good, bad = obeying.summary(), other.summary()
    assert list(good) == ["16", "32", "64"]
    for horizon in good:
        assert (good[horizon]["own_is_nearest"], bad[horizon]["own_is_nearest"]) == (1, 0)
        assert (good[horizon]["n"], good[horizon]["chance"]) == (4, 0.25)
        assert good[horizon]["distance_to_own"] < good[horizon]["distance_to_nearest_other"]
        assert good[horizon]["truth_to_nearest_other"] > 0.01
    assert good["64"]["by_trajectory"] == {"expert": 1, "mirrored": 1, "raised": 1, "stopped": 1}


def test_one_video_for_all_trajectories_is_right_once_in_k():
    members = group()
    alike = truth_of(members)[:1].expand(4, -1, -1, -1, -1)
    obedience = Obedience()
    obedience(played(members, model=alike))
    assert obedience.summary()["64"]["own_is_nearest"] == 0.25


def test_truths_that_do_not_differ_decide_nothing():
    obedience, members = Obedience(), [case(0.0, kind=str(n)) for n in range(4)]
    obedience(played(members))
    assert obedience.summary() == {}
    late = group(reach=16)
    obedience(played(late))
    assert list(obedience.summary()) == ["16"]


def test_distances_are_mean_squared_errors_over_the_differing_pixels():
    truth = torch.zeros(2, 3, 4, 5, 5)
    truth[1, 0, 2, 1, 1], truth[1, 0, 3, 4, 4] = 0.3, 0.1
    pixels = differing_pixels(truth)
    assert pixels.nonzero().tolist() == [[1, 1]]
    made = torch.zeros_like(truth) + 0.5
    expected = [[0.25, 0.25 + (0.04 - 0.25) / 12]] * 2
    torch.testing.assert_close(distances(made, truth, pixels), torch.tensor(expected))


class SquareTracker:
    """Reads where the square begins; an error of `wrong` metres in y."""

    def __init__(self, wrong=0.0):
        self.wrong = wrong

    def locate(self, frames):
        x = (frames[:, 0, 12 + SQUARE // 2] > 0).float().argmax(1).float()
        return torch.stack([x, torch.full_like(x, self.wrong), torch.zeros_like(x)], 1)


def test_errors_of_the_end_effector_are_shares_of_the_distance_moved():
    cases = [case(0.25, name="a"), case(-0.125, name="b")]
    tracking = Tracking(SquareTracker())
    tracking(played(cases))
    found = tracking.summary()
    assert found["own_error_m"] == 0 and list(found["horizons"]) == ["8", "16", "32", "64"]
    at = found["horizons"]["64"]
    assert (at["n"], at["moved_m"]) == (2, (12 + 8) / 2)
    shares = {name: row["share"] for name, row in at["methods"].items()}
    assert shares == {"truth": 0, "model": 0, "none": 1, "copy": 1, "codec": 0}
    off = Tracking(SquareTracker(0.5))
    off(played(cases))
    assert off.summary()["own_error_m"] == pytest.approx(0.5)
    assert off.summary()["horizons"]["64"]["methods"]["model"]["share"] == pytest.approx(0.05)


@pytest.fixture
def short_training(monkeypatch):
    """A clock that goes on by a second with every step."""
    monkeypatch.setattr(tracking_network, "FRAMES", 100)
    monkeypatch.setattr(tracking_network, "BATCH", 8)
    monkeypatch.setattr(tracking_network, "time", SimpleNamespace(monotonic=itertools.count().__next__))


def test_a_tracker_learns_where_the_square_is_and_is_kept(tmp_path, short_training):
    body = record(tmp_path)
    tracker = load_tracker(body, tmp_path / "cache", 120, 0)
    x = torch.tensor([13.0, 16.0, 19.0])
    frames = torch.stack([truth_of([case(0.0, reach=1)])[0, :, 0]] * 3)
    for frame, place in zip(frames, x.int().tolist(), strict=True):
        frame[:, 12 : 12 + SQUARE], wide = 40 / 127.5 - 1, slice(place, place + SQUARE)
        frame[:, 12 : 12 + SQUARE, wide] = 220 / 127.5 - 1
    located = tracker.locate(frames)
    assert located.shape == (3, 3) and sum(p.numel() for p in tracker.parameters()) < 300_000
    assert (located[:, 0] - x).abs().max() < 1.5
    (file,) = (tmp_path / "cache").iterdir()
    assert file.name == "tracker-data-first_person-330-120s-0.safetensors"  # frames, seconds, seed
    again = load_tracker(body, tmp_path / "cache", 120, 0)
    assert torch.equal(again.locate(frames), located)
    file.write_bytes(b"no weights")
    with pytest.raises(InputError, match="holds no tracker; delete it"):
        load_tracker(body, tmp_path / "cache", 120, 0)


def test_a_frame_of_any_size_is_seen():
    assert HandTracker().locate(torch.zeros(2, 3, 48, 96)).shape == (2, 3)


def test_sheets_show_the_first_few(tmp_path):
    futures, forward = FutureSheets(tmp_path, "hand-futures", 1), ForwardSheets(tmp_path, "hand-forward", 2)
    for _ in range(2):
        futures(played(group()))
        forward(played([case(reach=16)]))
    assert sorted(f.name for f in tmp_path.iterdir()) == [
        "hand-forward-0.png",
        "hand-forward-1.png",
        "hand-futures-0.png",
    ]
    with Image.open(tmp_path / "hand-futures-0.png") as tall, Image.open(tmp_path / "hand-forward-0.png") as low:
        assert tall.height > 2 * low.height and tall.width > low.width > SIZE


def test_positions_of_the_tests_start_to_move_at_the_start():
    assert positions(30)[: START + 1, 0].tolist() == [12.0] * (START + 1) and positions(30)[-1, 0] > 15.5
