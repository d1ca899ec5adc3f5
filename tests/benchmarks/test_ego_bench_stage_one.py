"""Stage I against answers that are known, and tiny models that answer anything."""

from dataclasses import replace

import numpy as np
import pytest
from ego_bench_fakes import FPS, model_folder, paint, positions, record, state_model
from ego_suite import stage_one
from ego_suite.stage_one import InverseScores, PolicyScores, StateEpisode, load_state, measure

from vgen.trajectory.trajectory import Trajectory


@pytest.fixture(scope="module")
def folder(tiny_model, tmp_path_factory):
    return model_folder(tiny_model, tmp_path_factory.mktemp("ego") / "model")


def episode(length=60, velocity=0.2):
    rows = positions(length, velocity, until=1)
    return StateEpisode(Trajectory(rows, np.arange(length) / FPS, None, "position4"), paint(rows), "slide", 3)


def shifted(truth, present, count, off):
    """The truth from a row on, off by a distance in y at every later row."""
    rows = truth.rows(present, min(len(truth), present + count + 1))
    values = rows.values.copy()
    values[1:, 1] += off
    return Trajectory(values, rows.times, None, rows.layout)


def test_a_policy_is_scored_at_the_times_it_covers(folder, monkeypatch):
    known, asked = episode(), []

    def futures(model, layout, frames, past, text, samples, generator):
        asked.append((len(frames), len(past), text))
        return [shifted(known.trajectory, len_of(past), 12, off) for off in np.linspace(0.1, 0.8, samples)]

    def policy(model, layout, frames, past, generator):
        return shifted(known.trajectory, len_of(past), 12, 2.0), "slide"

    def len_of(past):
        return round(past.times[-1] * FPS)

    monkeypatch.setattr(stage_one, "futures", futures)
    monkeypatch.setattr(stage_one, "policy", policy)
    scores = PolicyScores(state_model(folder), "position4", 0)
    for present in (0, 20, 55):
        scores.add(known, present)
    found = scores.summary()
    assert asked == [(1, 1, "slide"), (2, 5, "slide"), (2, 5, "slide")]
    assert (found["n"], found["text_accuracy"], found["horizon_s"]) == (3, 1, 12 / FPS)
    assert list(found["displacement"]) == ["0.5"]  # 1 s is 20 steps, beyond the horizon of 12
    row = found["displacement"]["0.5"]
    assert row["n"] == 2  # the episode ends before 0.5 s have passed from frame 55
    assert row["model"] == pytest.approx(0.45) and row["best of 8"] == pytest.approx(0.1)
    assert row["no sentence"] == pytest.approx(2)
    assert row["stay put"] == pytest.approx((1.8 + 2) / 2, abs=1e-5)  # from frame 0 it moves only after a step
    assert row["constant velocity"] == pytest.approx(1.8 / 2, abs=1e-5)
    assert "hand_iou" not in found


def test_boxes_have_an_overlap(folder, monkeypatch):
    rows = np.tile(np.array([0.2, 0.2, 0.4, 0.4, 0.6, 0.6, 0.8, 0.8, 1, 1]), (30, 1))
    truth = Trajectory(rows, np.arange(30) / FPS, None, "hand_boxes")
    known = StateEpisode(truth, np.zeros((30, 32, 32, 3), np.uint8), "wave", 0)
    moved = rows + np.array([0.1, 0, 0.1, 0, 0, 0, 0, 0, 0, 0])
    futures = [Trajectory(moved, truth.times, None, "hand_boxes")] * 8
    monkeypatch.setattr(stage_one, "futures", lambda *_: futures)
    monkeypatch.setattr(stage_one, "policy", lambda *_, **__: (futures[0], "point"))
    scores = PolicyScores(state_model(folder, "hand_boxes"), "hand_boxes", 0)
    for text in ("wave", "wave", "point"):
        scores.add(replace(known, text=text), 5)
    found = scores.summary()
    assert found["hand_iou"]["0.5"] == pytest.approx({"n": 6, "model": (1 / 3 + 1) / 2, "stay put": 1})
    assert found["text_accuracy"] == pytest.approx(1 / 3)
    assert found["text_accuracy_most_frequent"] == pytest.approx(2 / 3)
    assert found["displacement"]["0.5"]["model"] == pytest.approx(0.05)


def test_inverse_dynamics_is_held_against_a_hand_that_does_not_move(folder, monkeypatch):
    known, model = episode(velocity=0.2), state_model(folder)
    for off, step in ((0.0, 0.0), (0.1, 0.1 / 20)):
        explained = shifted(known.trajectory, 4, 20, off)
        monkeypatch.setattr(stage_one, "inverse_dynamics", lambda *_, answer=explained, **__: answer)
        scores = InverseScores(model, "position4", 0)
        scores.add(known, 4, 25)
        found = scores.summary()
        assert found["step"] == pytest.approx(step, abs=1e-5) and found["final"] == pytest.approx(off, abs=1e-5)
        assert found["step, zero motion"] == pytest.approx(0.2, abs=1e-4)
        assert found["final, zero motion"] == pytest.approx(4, abs=1e-4) and found["n"] == 1


def test_a_whole_model_is_asked_and_the_same_seed_says_the_same(folder, tmp_path):
    body, model = record(tmp_path), state_model(folder)
    one, other = (measure(model, body, "test", 2, {"policy", "inverse"}, 0) for _ in range(2))
    assert one == other and one["policy"]["n"] == 4 and one["inverse"]["n"] == 2
    assert set(one["policy"]["displacement"]["0.5"]) >= {"model", "best of 8", "stay put", "constant velocity"}
    assert one["policy"]["displacement"]["0.5"]["best of 8"] < one["policy"]["displacement"]["0.5"]["model"]


def test_what_the_model_lacks_is_said(folder, tmp_path):
    body = record(tmp_path)
    assert measure(None, body, "test", 1, {"policy"}, 0)["policy"]["missing"].startswith("the model has no state/")
    boxes = state_model(folder, "hand_boxes")
    assert "it knows: hand_boxes" in measure(boxes, body, "test", 1, {"inverse"}, 0)["inverse"]["missing"]
    assert measure(None, body, "test", 1, {"forward"}, 0) == {}
    assert load_state(str(folder), boxes.vision.codec) is not None
