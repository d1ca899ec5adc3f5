"""A tiny ego model, and what it starts from."""

import pytest
from diffusers import AutoencoderKLWan
from ego_models import save_model, write_media


@pytest.fixture(scope="session")
def vae(tiny_model):
    """The codec of `tiny_model`."""
    return AutoencoderKLWan.from_pretrained(tiny_model, subfolder="vae").eval()


@pytest.fixture(scope="session")
def ego_model(tiny_model, vae, tmp_path_factory):
    """A tiny model folder with ego/ and state/, for position4."""
    return save_model(tiny_model, tmp_path_factory.mktemp("ego_model") / "model", vae)


@pytest.fixture(scope="session")
def ego_media(tmp_path_factory):
    """The files that `write_media` writes."""
    folder = tmp_path_factory.mktemp("ego_media")
    write_media(folder)
    return folder
