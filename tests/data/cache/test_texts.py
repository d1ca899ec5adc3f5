import pickle

import pytest
import torch
from transformers import ByT5Tokenizer, UMT5Config, UMT5EncoderModel

from vgen.backbone.text import encode_text
from vgen.data.cache.texts import CachedTextEncoder, TextCache
from vgen.errors import InputError, TryAgain

CAPTIONS = ["a cat sleeps", "a much longer caption that is cut off somewhere here", "a cat sleeps", "dog"]


@pytest.fixture
def encoder(tmp_path):
    torch.manual_seed(0)
    config = UMT5Config(vocab_size=384, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, dropout_rate=0.0)
    UMT5EncoderModel(config).save_pretrained(tmp_path / "encoder")
    return tmp_path / "encoder"


@pytest.fixture
def tokenizer():
    return ByT5Tokenizer(model_max_length=32)


def test_the_stand_in_answers_as_the_encoder_would(encoder, tokenizer, tmp_path):
    stand_in = CachedTextEncoder(encoder)
    stand_in.cache = TextCache.of_captions(CAPTIONS, encoder, tokenizer, 32, tmp_path / "cache")
    assert len(stand_in.cache) == 4  # the empty one too, and none twice
    model = UMT5EncoderModel.from_pretrained(encoder, dtype=torch.bfloat16).eval()
    wanted = ["", *CAPTIONS]
    with torch.no_grad():
        expected = encode_text(tokenizer, model, wanted, 32)
    got = encode_text(tokenizer, pickle.loads(pickle.dumps(stand_in)), wanted, 32)
    assert got.shape == (5, 32, 16) and got.dtype == torch.bfloat16
    torch.testing.assert_close(got, expected, atol=0.03, rtol=0.03)
    assert not list(stand_in.parameters()) and stand_in.device == torch.device("cpu")
    with pytest.raises(InputError, match="holds no embedding of a text of 4 tokens"):
        encode_text(tokenizer, stand_in, ["cow"], 32)


def test_the_cache_is_made_once_and_anew_for_other_weights_or_captions(encoder, tokenizer, tmp_path):
    def folder(captions=CAPTIONS, length=32):
        return TextCache.of_captions(captions, encoder, tokenizer, length, tmp_path / "cache").folder

    first = folder()
    kept = set(first.rglob("*"))
    assert folder(CAPTIONS[::-1]) == folder(CAPTIONS[:1]) == first and set(first.rglob("*")) == kept
    folder([*CAPTIONS, "cow"])
    assert len(list(first.iterdir())) == 2
    model = UMT5EncoderModel.from_pretrained(encoder)
    torch.nn.init.zeros_(model.encoder.final_layer_norm.weight)
    model.save_pretrained(encoder)
    assert folder() != first


def test_the_encoder_that_it_stands_for_is_handed_on(encoder, tmp_path):
    CachedTextEncoder(encoder).save_pretrained(tmp_path / "model" / "text_encoder")
    CachedTextEncoder(encoder).save_pretrained(tmp_path / "model" / "text_encoder")  # over what is there
    copy = UMT5EncoderModel.from_pretrained(tmp_path / "model" / "text_encoder")
    for key, value in UMT5EncoderModel.from_pretrained(encoder).state_dict().items():
        assert torch.equal(copy.state_dict()[key], value)


def test_only_captions_that_are_new_are_embedded(encoder, tokenizer, tmp_path, caplog):
    caplog.set_level("INFO")
    TextCache.of_captions(CAPTIONS, encoder, tokenizer, 32, tmp_path / "cache")
    TextCache.of_captions([*CAPTIONS[:2], "dogs"], encoder, tokenizer, 32, tmp_path / "cache")
    assert "embedding captions: 4 of 4 are made" in caplog.text and "embedding captions: 1 of 4 are made" in caplog.text


def test_an_embedding_that_is_not_finite_is_one_line_with_its_caption(encoder, tokenizer, tmp_path):
    model = UMT5EncoderModel.from_pretrained(encoder)
    model.shared.weight.data[tokenizer("z").input_ids[0]] = torch.nan
    model.save_pretrained(encoder)
    with pytest.raises(InputError, match=r"^caption a zebra: its embedding is not finite"):
        TextCache.of_captions(["a cow", "a zebra"], encoder, tokenizer, 32, tmp_path / "cache")


def test_an_embedding_that_is_not_what_was_written_is_told(encoder, tokenizer, tmp_path):
    cache = TextCache.of_captions(["a cow"], encoder, tokenizer, 32, tmp_path / "cache")
    for file in cache.folder.glob("*/rows.bin"):
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(TryAgain, match=r"the embedding of a text of 6 tokens: .*rows\.bin breaks off"):
        cache.states(tokenizer("a cow").input_ids)
