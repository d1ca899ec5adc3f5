"""Contact sheets: what is written on them."""

import time

import numpy as np
from PIL import Image

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


def test_text_is_drawn_in_letters_that_the_font_has():
    assert sheets._drawable("öffne die Tür — ok ☃") == "offne die Tur ? ok ?"
    missing = bytes(sheets._font(20).getmask("\uffff"))  # what stands for a letter that is not there
    assert all(bytes(sheets._font(20).getmask(letter)) != missing for letter in sheets._drawable("àçÉñ"))
