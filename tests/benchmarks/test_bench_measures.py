import cv2
import numpy as np
import pytest
import torch
from bench_measures.available import measures
from bench_measures.given import curves, kept, seams, timing
from bench_measures.looks import colours, flickering, sharpness
from bench_measures.meanings import MEANINGS, meaning
from bench_measures.motion import motion
from completed_cases import FPS, FRAMES, completed, images_of, moving, texture

from vgen.metrics import psnr, ssim

BOX = (0.25, 0.25, 0.75, 0.75)


def brightened(video, by):
    return np.clip(video.astype(int) + by, 0, 255).astype(np.uint8)


def test_what_was_given_is_measured_where_it_lies_alone():
    video = moving()
    patches = images_of(video, 4, 9, box=BOX)
    assert kept(completed(video, patches=patches)) == {"given_psnr": 100.0, "given_worst": 100.0}
    outside = video.copy()
    outside[:, :12] = 0
    assert kept(completed(outside, patches=patches))["given_worst"] == 100.0
    worse = video.copy()
    worse[9] = brightened(video[9], 25)
    values = kept(completed(worse, patches=patches))
    assert values["given_worst"] < 21 < values["given_psnr"] < 100


def test_a_seam_is_seen_where_a_patch_is_pasted_in_other_colours():
    video = brightened(moving() // 2, 60)
    patches = images_of(video, 4, box=BOX)
    whole = seams(completed(video, video, patches))
    assert whole["seam_error"] == 0
    pasted = brightened(video, 20)
    pasted[4, 12:36, 16:48] = video[4, 12:36, 16:48]
    values = seams(completed(pasted, video, patches))
    assert values["seam_error"] == pytest.approx(20, abs=0.1)  # the step that was made, at all of the edge
    assert values["seam_step"] > whole["seam_step"] + 10
    assert seams(completed(pasted, None, patches)) == {"seam_step": values["seam_step"]}
    assert seams(completed(pasted, video, images_of(video, 4))) == {}  # a whole frame has no edge


def test_images_that_come_too_late_or_never_are_told_from_those_that_come_in_time():
    video = moving()
    patches = images_of(video, 3, 7, 11)
    assert timing(completed(video, video, patches)) == pytest.approx(
        {"peak_distance": 0, "centroid_distance": 0, "centroid_slope": 1}
    )
    late = timing(completed(np.roll(video, 2, axis=0), video, patches))
    assert late["peak_distance"] == 2
    assert late["centroid_distance"] == pytest.approx(2, abs=0.3)
    assert late["centroid_slope"] == pytest.approx(1, abs=0.1)
    still = timing(completed(np.repeat(video[7:8], FRAMES, axis=0), video, patches))
    assert still["centroid_slope"] == pytest.approx(0, abs=1e-9)
    assert set(timing(completed(video, None, patches))) == {"peak_distance"}
    assert timing(completed(video, video)) == {}


def test_curves_peak_where_their_image_lies_inside_its_mask():
    video = moving()
    drawn = curves(completed(brightened(video, 5), video, images_of(video, 6, box=BOX)))
    assert list(drawn) == ["truth", "given 6"]
    assert np.argmax(drawn["given 6"]) == 6
    frame = [torch.from_numpy(v[3]).permute(2, 0, 1)[None, :, None] / 127.5 - 1 for v in (brightened(video, 5), video)]
    assert drawn["truth"][3] == pytest.approx(psnr(*frame).item())


def test_colours_tell_an_error_from_a_drift():
    video = brightened(moving() // 2, 40)
    assert colours(completed(video, video)) == {"colour_error": 0, "colour_drift": 0, "sharpness_ratio": 1}
    off = colours(completed(brightened(video, 8), video))
    assert off["colour_error"] == pytest.approx(8)
    assert off["colour_drift"] == pytest.approx(0, abs=1e-9)
    drifting = np.stack([brightened(frame, t) for t, frame in enumerate(video)])
    assert colours(completed(drifting, video))["colour_drift"] == pytest.approx(FRAMES - 1)
    blurred = np.stack([cv2.GaussianBlur(frame, (0, 0), 2) for frame in video])
    assert colours(completed(blurred, video))["sharpness_ratio"] < 0.5
    assert colours(completed(video)) == {}


def test_sharpness_is_the_variance_of_opencvs_laplacian():
    frame = texture()
    grey = (frame @ np.array([0.299, 0.587, 0.114], np.float32)).astype(np.float32)
    assert sharpness(frame[None])[0] == pytest.approx(cv2.Laplacian(grey, cv2.CV_32F)[1:-1, 1:-1].var(), rel=1e-4)


def test_flickering_is_one_for_a_still():
    still = np.repeat(texture()[None], 5, axis=0)
    assert flickering(completed(still)) == {"temporal_flickering": 1.0}
    flashes = still.copy() // 2
    flashes[1::2] += 51
    assert flickering(completed(flashes))["temporal_flickering"] == pytest.approx(0.8)


def test_motion_counts_above_vbenchs_threshold_and_jerks_are_not_smooth():
    # 6 pixels of 256 in an eighth of a second, here twice a frame's step, on a short side of 48: 1.125 pixels
    slow, fast = (motion(completed(moving(step))) for step in (0, 2))
    assert slow["dynamic_degree_farneback"] == 0
    assert slow["motion_smoothness_farneback"] == pytest.approx(1, abs=1e-4)
    assert fast["dynamic_degree_farneback"] == 1
    assert fast["motion_farneback"] == pytest.approx(4 / 1.125, rel=0.1)
    jerky = moving(2)
    jerky[3::4] = jerky[2::4][: len(jerky[3::4])]
    assert motion(completed(jerky))["motion_smoothness_farneback"] < fast["motion_smoothness_farneback"] - 0.005


def test_all_measures_together_have_a_meaning_for_every_value_and_a_reason_for_every_absence():
    video = moving()
    made = brightened(video, 5)
    available = measures()
    values = available.values(completed(made, video, images_of(video, 0, 8, box=BOX)))
    assert values["psnr"] == pytest.approx(10 * np.log10(255**2 / ((made.astype(float) - video) ** 2).mean()))
    pair = [torch.from_numpy(v).permute(3, 0, 1, 2)[None] / 127.5 - 1 for v in (made, video)]
    assert values["ssim"] == pytest.approx(ssim(*pair).item(), abs=1e-6)
    assert all(meaning(name) for name in values)
    assert set(MEANINGS) - set(values) <= set(available.left_out)
    assert {"dynamic_degree", "motion_smoothness"} <= set(available.left_out)
    assert "dynamic_degree" not in values
    of_unrelated = available.values(completed(made, None, images_of(video, 0)))
    assert "psnr" not in of_unrelated
    assert of_unrelated["given_psnr"] > 30
    assert FPS == 15  # which the thresholds above stand on
