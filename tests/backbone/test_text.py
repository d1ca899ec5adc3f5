import json
import logging

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.trainers import UnigramTrainer
from transformers import ByT5Tokenizer, T5Tokenizer, UMT5Config, UMT5EncoderModel

from vgen.backbone.text import Cut, TextLimit, encode_text, text_length
from vgen.errors import InputError

CONFIG = UMT5Config(vocab_size=384, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)


@pytest.fixture(scope="module")
def unigram():
    """Wan's kind of tokenizer, with a small vocabulary of pieces of words."""
    pieces = ["a person opens the drawer", "the cat sleeps", "été à la plage"] * 30
    blank = Tokenizer.from_str(T5Tokenizer()._tokenizer.to_str())
    special = ["<pad>", "</s>", "<unk>"]
    blank.train_from_iterator(pieces, UnigramTrainer(vocab_size=60, special_tokens=special, unk_token="<unk>"))
    return T5Tokenizer(vocab=[tuple(entry) for entry in json.loads(blank.to_str())["model"]["vocab"]])


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


@pytest.mark.parametrize(
    ("text", "length", "cut"),
    [
        ("", 4, None),
        ("abcdefg", 8, None),  # seven and the end of the sentence
        ("abcdefgh", 8, Cut(9, "h")),
        ("  a &amp;\n\n bcd  ", 8, None),  # "a & bcd"
        ("a &amp; bcde", 8, Cut(9, "e")),
        ("aaaaaaé", 8, Cut(9, "é")),  # its first byte is read, which is no character
        ("aaaaa€b", 8, Cut(10, "€b")),
        ("aaa😀 cat", 8, Cut(12, "cat")),
        ("aaaa😀 cat", 8, Cut(13, "😀 cat")),
        ("</s> a <pad> b", 4, Cut(5, "b")),  # one token each, as blanks beside special ones are lost
    ],
)
def test_what_bytes_are_cut_off(text, length, cut):
    assert TextLimit.of_encoder(ByT5Tokenizer(model_max_length=8), length).cut(text) == cut


@pytest.mark.parametrize("text", ["a person opens the drawer", "été à la plage", "the </s> cat sleeps"])
def test_what_pieces_of_words_are_cut_off(unigram, text):
    """Against the tokens that the encoder's own truncation drops, decoded; blanks stand elsewhere there."""
    whole = unigram(text).input_ids
    for length in range(2, len(whole)):
        read = unigram(text, max_length=length, truncation=True).input_ids[:-1]
        assert read == whole[: length - 1]
        cut = TextLimit.of_encoder(unigram, length).cut(text)
        dropped = unigram.decode(whole[length - 1 : -1], skip_special_tokens=False)
        assert cut.tokens == len(whole) and text.endswith(cut.rest)
        assert "".join(cut.rest.split()) == "".join(dropped.split()) != ""
    assert TextLimit.of_encoder(unigram, len(whole)).cut(text) is None


def test_characters_that_are_in_no_vocabulary_are_quoted_too(unigram):
    length = len(unigram("the cat").input_ids)
    assert TextLimit.of_encoder(unigram, length).cut("the cat ☃ 一只").rest == "☃ 一只"


def test_texts_that_make_the_same_embedding_are_told_apart_by_the_warning(caplog):
    encoder, tokenizer = UMT5EncoderModel(CONFIG).eval(), ByT5Tokenizer()
    prompts = ["a cat on a mat, warned once", "a cat on a mat, warned twice"]
    first, second = encode_text(tokenizer, encoder, prompts, 16)
    assert torch.equal(first, second)
    limit = TextLimit.of_encoder(tokenizer, 16)
    for _ in range(2):
        limit.warn([*prompts, prompts[0], "short", ""])
    line = "the prompt has {} tokens and the text encoder reads 16: what follows is cut off and has no effect: {}"
    expected = [line.format(28, '"warned once"'), line.format(29, '"warned twice"')]
    assert [record.getMessage() for record in caplog.records] == expected


def test_prompts_that_hold_nothing_or_are_no_text(caplog):
    limit = TextLimit.of_encoder(ByT5Tokenizer(), 16)
    limit.warn(["", " \n\u2028", "&nbsp;"])
    assert [record.getMessage() for record in caplog.records] == [
        r"the prompt ' \n\u2028' holds no text and counts as none",
        "the prompt '&nbsp;' holds no text and counts as none",
    ]
    for bad in ("a\ud800", 5, None, b"cat"):
        with pytest.raises(InputError, match=r"^prompt=.* must be text"):
            limit.warn([bad])


def test_captions_are_told_in_one_line(caplog):
    limit = TextLimit.of_encoder(ByT5Tokenizer(), 8)
    limit.warn_of_captions(["short", "short", "a longer caption", "b longer\ncaption", "a longer caption"])
    limit.warn_of_captions(["short", ""])
    (line,) = (record.getMessage() for record in caplog.records)
    assert line == (
        "2 of 3 captions have more than the 8 tokens that the text encoder reads; of "
        '"a longer caption" (17 tokens) this is cut off: "r caption"'
    )


def test_a_long_rest_is_quoted_from_its_beginning_in_one_line(caplog):
    caplog.set_level(logging.WARNING)
    TextLimit(ByT5Tokenizer(), 4, "the state model").warn(["abcd\n" + "beginning " * 1000])
    (record,) = caplog.records
    assert "10005 tokens and the state model reads 4" in record.getMessage() and "'beginning " in record.getMessage()
    assert len(record.getMessage()) < 300 and "\n" not in record.getMessage()
