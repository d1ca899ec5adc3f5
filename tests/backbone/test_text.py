import torch
from transformers import ByT5Tokenizer, UMT5Config, UMT5EncoderModel

from vgen.backbone.text import encode_text, text_length

CONFIG = UMT5Config(vocab_size=384, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)


def test_embeddings_are_zero_past_the_sentence_and_do_not_depend_on_the_padding():
    encoder, tokenizer = UMT5EncoderModel(CONFIG).eval(), ByT5Tokenizer()
    short = encode_text(tokenizer, encoder, ["open it", ""], 16)
    long = encode_text(tokenizer, encoder, ["open it", ""], 24)
    assert short.shape == (2, 16, 16)
    used = len("open it") + 1  # and the end of the sentence
    assert short[0, :used].abs().sum(-1).min() > 0 and not short[0, used:].any() and not short[1, 1:].any()
    torch.testing.assert_close(short, long[:, :16], atol=1e-5, rtol=1e-5)


def test_spaces_and_html_are_cleaned_as_wan_does():
    encoder, tokenizer = UMT5EncoderModel(CONFIG).eval(), ByT5Tokenizer()
    clean, dirty = encode_text(tokenizer, encoder, ["a & b", "  a   &amp; b\n"], 16)
    assert torch.equal(clean, dirty)


def test_length_is_the_tokenizers_own_up_to_wans():
    assert text_length(ByT5Tokenizer(model_max_length=64)) == 64
    assert text_length(ByT5Tokenizer()) == 512
