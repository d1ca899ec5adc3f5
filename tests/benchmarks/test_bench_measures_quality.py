import shutil
from itertools import pairwise

import numpy as np
import pytest
import torch
from bench_measures import quality
from bench_measures.available import measures
from bench_measures.meanings import meaning
from completed_cases import completed, moving, texture
from safetensors.torch import save_file
from tiny_encoders import PATCH, SIDE, SUFFIX, WIDTH, save_all, save_vit
from torch.nn import functional
from transformers import ViTModel

from vgen.errors import InputError


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    return save_all(tmp_path_factory.mktemp("encoders"))


def by_vbench(features):
    """Cosines with the frame before and with the first, as its code adds them up."""
    total = 0.0
    for before, now in pairwise(features):
        total += sum(
            max(0.0, functional.cosine_similarity(other, now, dim=0).item()) for other in (before, features[0])
        )
    return total / 2 / (len(features) - 1)


def test_every_encoder_measures_under_a_name_that_tells_which_it_is(encoders):
    available = measures(encoders)
    video = moving()
    values = available.values(completed(video, prompt="a picture goes by"))
    named = {
        f"subject_consistency_{SUFFIX['vit']}", f"background_consistency_{SUFFIX['clip']}",
        f"aesthetic_quality_{SUFFIX['clip']}", f"imaging_quality_{SUFFIX['vit']}",
        f"overall_consistency_{SUFFIX['clip']}",
    }  # fmt: skip
    assert set(available.encoders) == named <= set(values)
    assert values[f"aesthetic_quality_{SUFFIX['clip']}"] == pytest.approx(0.5)
    assert -1 < values[f"overall_consistency_{SUFFIX['clip']}"] < 1
    dimensions = {dimension for dimension, _ in quality.JUDGES.values()}
    assert dimensions <= set(available.left_out)
    assert not dimensions & set(values)
    assert all("sha256" in told for told in available.encoders.values())
    assert meaning(f"subject_consistency_{SUFFIX['vit']}").title == f"subject consistency ({SUFFIX['vit']})"
    assert f"overall_consistency_{SUFFIX['clip']}" not in available.values(completed(video))


def test_consistency_is_vbenchs_sum_of_cosines_of_whole_frames(encoders):
    video = moving()
    judge = quality.subject(encoders / "subject", "cpu")
    value = judge.measure(completed(video))[judge.name]
    network = ViTModel.from_pretrained(encoders / "subject", add_pooling_layer=False)
    frames = torch.from_numpy(video).permute(0, 3, 1, 2).float()
    frames = functional.interpolate(frames, (SIDE, SIDE * 64 // 48), mode="bilinear").round() / 255
    with torch.no_grad():
        states = network(pixel_values=(frames - 0.5) / 0.25, interpolate_pos_encoding=True).last_hidden_state
    assert states.shape[1] == 1 + SIDE // PATCH * (SIDE * 64 // 48 // PATCH)
    assert value == pytest.approx(by_vbench(states[:, 0]), abs=1e-5)
    assert value < 1
    still = np.repeat(texture()[None], 5, axis=0)
    assert judge.measure(completed(still))[judge.name] == pytest.approx(1)
    assert judge.measure(completed(still[:1])) == {}


def test_vbenchs_own_name_is_for_its_own_network(encoders, tmp_path, monkeypatch):
    monkeypatch.setattr(quality, "DINO", ("vit", 2, WIDTH, PATCH))
    monkeypatch.setattr(quality, "CLIP_L14", ("clip", 2, WIDTH, PATCH))
    monkeypatch.setattr(quality, "CLIP_B32", ("clip", 2, WIDTH, PATCH))
    save_vit(tmp_path / "dino", quality.DINO_MEAN)
    assert quality.subject(tmp_path / "dino", "cpu").name == "subject_consistency"
    assert quality.subject(encoders / "subject", "cpu").name != "subject_consistency"  # it is told another mean colour
    assert quality.aesthetic(encoders / "aesthetic", "cpu").name == "aesthetic_quality"
    assert quality.background(encoders / "aesthetic", "cpu").name == "background_consistency"
    config = encoders / "background" / "config.json"
    gelu = tmp_path / "gelu"
    shutil.copytree(encoders / "background", gelu)
    (gelu / "config.json").write_text(config.read_text().replace('"quick_gelu"', '"gelu"'))
    assert quality.background(gelu, "cpu").name != "background_consistency"


def test_folders_that_hold_no_encoder_are_refused_in_one_line(encoders, tmp_path):
    with pytest.raises(InputError, match="named subject, background"):
        measures(tmp_path)
    (tmp_path / "subject").mkdir()
    with pytest.raises(InputError, match="cannot be loaded"):
        measures(tmp_path)
    shutil.copytree(encoders / "subject", tmp_path / "none")
    (tmp_path / "none" / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match="must tell image_mean"):
        quality.subject(tmp_path / "none", "cpu")
    with pytest.raises(InputError, match="has no head"):
        quality.aesthetic(encoders / "background", "cpu")
    with pytest.raises(InputError, match="takes no texts"):
        quality.overall(encoders / "subject", "cpu")
    with pytest.raises(InputError, match="lacks weights"):
        quality.imaging(encoders / "subject", "cpu")
    shutil.copytree(encoders / "aesthetic", tmp_path / "small")
    save_file({"weight": torch.zeros(1, 5), "bias": torch.zeros(1)}, tmp_path / "small" / "head.safetensors")
    with pytest.raises(InputError, match="5 features, and its network has 12"):
        quality.aesthetic(tmp_path / "small", "cpu").measure(completed(moving()))
