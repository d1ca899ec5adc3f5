"""What a model was trained on: kept, joined, and refused in one line where it is damaged."""

import json

import numpy as np
import pytest

from vgen.errors import InputError
from vgen.models import LayoutRange, ModelInfo, TrainingRange
from vgen.models.picture_probe import PictureProbe
from vgen.models.training_range import FILE, MOST_WORDS, caption_words, psnr_quantiles

PROBE = PictureProbe((0.5, 1.0), ((1.0, 2.0, 3.0, 4.0), (0.0, 0.0, 0.0, -1.0)), 0.25)
HAND = LayoutRange({"x": (-1.0, 1.0)}, {"hand": 2.0})
KNOWN = TrainingRange(
    ((128, 128),), (17,), (80.0,), ("frames",), frozenset({"cat", "naïve"}), (20.0, 25.0, 30.0),
    {"position4": HAND}, {"position4": PROBE}, {"position4": PROBE},
)  # fmt: skip


def test_what_is_written_is_read(tmp_path):
    KNOWN.write(tmp_path)
    assert TrainingRange.read(tmp_path) == KNOWN
    TrainingRange().write(tmp_path)
    assert TrainingRange.read(tmp_path) == TrainingRange()
    (tmp_path / FILE).unlink()
    assert TrainingRange.read(tmp_path) is None


def test_a_model_that_goes_on_knows_both():
    other = TrainingRange(
        ((64, 96),), (9, 17), (15.0,), ("clip",), frozenset({"dog"}), None,
        {"position4": LayoutRange({"x": (0.0, 3.0)}, {"hand": 1.0}), "pose7": HAND},
    )  # fmt: skip
    joined = KNOWN.join(other)
    assert joined.sizes == ((64, 96), (128, 128)) and joined.frames == (9, 17) and joined.rates == (15, 80)
    assert joined.conditions == ("clip", "frames") and joined.words == {"cat", "dog", "naïve"}
    assert joined.codec_psnr == (20, 25, 30)
    assert joined.layouts == {"position4": LayoutRange({"x": (-1, 3)}, {"hand": 2}), "pose7": HAND}


def test_what_began_from_an_unknown_model_is_known_in_part():
    joined = TrainingRange().join(KNOWN)
    known = TrainingRange(codec_psnr=KNOWN.codec_psnr, layouts=KNOWN.layouts, hands=KNOWN.hands, scenes=KNOWN.scenes)
    assert joined == known == KNOWN.adapted()


def test_places_and_speeds_leave_single_ones_out():
    values = np.append(np.linspace(0, 1, 10_000), 99.0)
    kept = LayoutRange.of_values({"x": values}, {"hand": values, "still": np.zeros(0)})
    assert kept.places["x"] == pytest.approx((0.001, 0.999), abs=1e-3)
    assert kept.speeds == {"hand": pytest.approx(0.999, abs=1e-3)}


def test_quantiles_and_words():
    assert psnr_quantiles(np.arange(101.0).tolist()) == (1, 50, 99)
    assert caption_words(["Press it", "press, 2 Öfen"]) == {"press", "it", "öfen"}
    letters = "abcdefghijklmnopqrstuvwxyzäöü"
    many = (f"{a}{b}{c}{d}" for a in letters for b in letters for c in letters for d in letters[:3])
    assert len(letters) ** 3 * 3 > MOST_WORDS and caption_words([" ".join(many)]) is None


@pytest.mark.parametrize(
    "content, words",
    [
        ("[]", "must hold a JSON object"),
        ("{", "cannot be read"),
        ('{"sizes": ["big"]}', "sizes=big must be HEIGHTxWIDTH"),
        ('{"sizes": ["0x64"]}', "sizes=0 must lie in 1 to 1000000"),
        ('{"frames": 17}', "frames=17 must be a list"),
        ('{"codec_psnr": [1, 2]}', "codec_psnr=.* must be 3 finite numbers"),
        ('{"layouts": {"position4": {"places": {"x": [1]}}}}', "x=.* must be 2 finite numbers"),
        ('{"hands": {"a": {"offset": [1], "weights": []}}}', "a has no weights for each number of its offset"),
        ('{"scenes": {"a": {"offset": [1], "weights": [[1, null]], "reach": 1}}}', "weights=.* must be 2 finite"),
        ('{"words": 3}', "words=3 must be text"),
    ],
)
def test_a_damaged_file_is_told_in_one_line(tmp_path, content, words):
    (tmp_path / FILE).write_text(content)
    with pytest.raises(InputError, match=f"model 'mine': {FILE}:? .*{words}|model 'mine': {FILE}: {words}"):
        TrainingRange.read(tmp_path, "mine")


def test_the_shipped_model_says_what_it_was_trained_on():
    trained = ModelInfo.read("nano", ()).trained
    assert (
        (128, 128) in trained.sizes and 17 in trained.frames and trained.layouts.keys() == {"position4", "adroit_hand"}
    )
    assert trained.hands.keys() == trained.scenes.keys() == trained.layouts.keys()
    assert TrainingRange.from_json(json.loads(json.dumps(trained.to_json()))) == trained
