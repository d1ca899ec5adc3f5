import numpy as np
import pytest

from vgen.models.picture_probe import PictureProbe, latent_looks, latent_means, means_of


def test_means_are_those_of_the_quarters():
    latent = np.arange(2 * 4 * 6.0).reshape(1, 2, 4, 6)
    [means] = latent_means(latent)
    quarters = [latent[0, :, :2, :3], latent[0, :, :2, 3:], latent[0, :, 2:, :3], latent[0, :, 2:, 3:]]
    assert means.tolist() == [value for part in quarters for value in part.mean((1, 2))]
    assert latent_means(np.ones((3, 2, 1, 5))).shape == (3, 8)
    [looks] = latent_looks(latent)
    assert means_of(looks).tolist() == means.tolist()
    assert looks[8:] == pytest.approx([value for part in quarters for value in part.std((1, 2))])


def test_what_a_latent_tells_linearly_is_found_and_how_far_it_is_off():
    rng = np.random.default_rng(0)
    means, truth = rng.normal(size=(2000, 8)), rng.normal(size=(8, 2))
    places = means @ truth + [3, -1] + rng.normal(0, 0.1, (2000, 2))
    probe = PictureProbe.fit(means, places)
    assert np.allclose(probe.answer(np.zeros(8)), [3, -1], atol=0.05)
    assert probe.answer(means[0]) == pytest.approx(means[0] @ truth + [3, -1], abs=0.1)
    assert probe.reach == pytest.approx(0.1 * (-2 * np.log(0.01)) ** 0.5, rel=0.2)  # of a Rayleigh distribution


def test_what_was_not_fitted_to_says_how_far_it_is_off():
    rng = np.random.default_rng(0)
    noise, places = rng.normal(size=(60, 100)), rng.normal(size=(60, 1))  # which can be learned by heart alone
    probe = PictureProbe.fit(noise, places)
    assert np.abs(probe.answer(noise[0]) - places[0]) < 0.3 < probe.reach


def test_too_few_pictures_and_other_latents_have_no_answer():
    assert PictureProbe.fit(np.zeros((39, 4)), np.zeros((39, 1))) is None
    assert PictureProbe.fit(np.zeros((40, 4)), np.ones((40, 1))).answer(np.zeros(5)) is None
