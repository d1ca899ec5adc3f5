"""Contact sheets: what is written on them."""

import time

import numpy as np
import pytest
from PIL import Image, ImageFont

from vgen.media import sheet as sheets
from vgen.media.sheet import Tile, draw_sheet


def sheet(title):
    return np.asarray(draw_sheet(title, [("Made", [Tile(Image.new("RGB", (64, 64)), "0", "", False)])], (64, 64)))


def test_a_title_is_cut_to_the_width_however_long_it_is():
    began = time.perf_counter()
    long = sheet("i" * 200_000)  # letter by letter from its end, that took minutes
    assert time.perf_counter() - began < 5
    assert np.array_equal(long, sheet("i" * 1000)) and not np.array_equal(long, sheet("i"))


def test_numbers_are_told_in_runs():
    assert sheets.number_runs([12, 0, 1, 2, 10.5, 4, 4]) == "0-2, 4, 10.5, 12" and sheets.number_runs([]) == ""


def test_latin_text_is_drawn_in_the_font_that_is_everywhere():
    assert sheets._lettered("öffne die Tür", 20) == ("offne die Tur", sheets._font(20))
    assert not sheets._missing("offne aceEnN", sheets._font(20))


def dejavu() -> bool:
    try:
        ImageFont.truetype("DejaVuSans.ttf", 20)
    except OSError:
        return False
    return True


@pytest.mark.skipif(not dejavu(), reason="needs a font of other letters")
def test_other_letters_are_drawn_in_a_font_that_has_them(caplog):
    text, font = sheets._lettered("кошка — ok ☃", 20)
    assert text == "кошка — ok ☃" and font is not sheets._font(20) and not caplog.text
    assert not np.array_equal(sheet("кошка"), sheet("собак"))


def test_letters_that_no_font_has_are_told_and_marked(monkeypatch, caplog):
    monkeypatch.setattr(sheets, "_other_fonts", lambda size: [])
    assert np.array_equal(sheet("a кошка"), sheet("a ?????"))
    sheet("猫")
    assert [record.getMessage().split(",")[0] for record in caplog.records] == [
        "no font that was found has коша",
        "no font that was found has 猫",
    ]


@pytest.mark.skipif(not dejavu(), reason="needs a font of other letters")
def test_a_letter_that_the_best_font_has_not_is_told(monkeypatch, caplog):
    monkeypatch.setattr(sheets, "FONTS", ("DejaVuSans.ttf",))
    sheets._other_fonts.cache_clear()
    assert sheets._lettered("кот 猫", 20)[0] == "кот ?" and "has 猫, so" in caplog.text
    sheets._other_fonts.cache_clear()
