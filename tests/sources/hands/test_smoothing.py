import numpy as np

from vgen.sources.hands.smoothing import filter_name, smooth

FPS = 30.0
TIME = np.arange(120) / FPS


def test_a_slow_motion_is_neither_delayed_nor_flattened():
    wave = np.sin(2 * np.pi * 1.0 * TIME)[:, None]
    smoothed = smooth(wave, FPS)
    delays = range(-5, 6)
    fit = [np.dot(smoothed[10:-10, 0], np.roll(wave, delay)[10:-10, 0]) for delay in delays]
    assert delays[int(np.argmax(fit))] == 0
    assert np.abs(smoothed - wave)[10:-10].max() < 0.01


def test_jitter_is_taken_out():
    jitter = np.random.default_rng(0).normal(0, 1, (600, 3))
    assert smooth(jitter, FPS, 3.0).std() < 0.6 * jitter.std()


def test_each_run_is_smoothed_on_its_own_and_gaps_stay():
    values = np.where(TIME < 2, 0.0, 1.0)[:, None]
    values[58:62] = np.nan
    smoothed = smooth(values, FPS)
    assert np.isnan(smoothed[58:62]).all()
    assert np.abs(smoothed[:58]).max() < 1e-9
    assert np.abs(smoothed[62:] - 1).max() < 1e-9


def test_short_runs_and_slow_videos_and_no_filter():
    values = np.random.default_rng(0).normal(0, 1, (7, 2))
    values[3] = np.nan
    assert np.array_equal(smooth(values, FPS), values, equal_nan=True)
    assert np.isfinite(smooth(TIME[:, None], 8.0)).all()
    assert smooth(values, FPS, 0) is values
    assert filter_name(0) == "none"
    assert "6 Hz" in filter_name(6.0)
