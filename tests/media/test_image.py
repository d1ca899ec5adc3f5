import io
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from vgen.errors import InputError
from vgen.media.image import decode_image, image_pixels, read_image

CASES = Path(__file__).parents[2] / "../shared/cases/images"


def test_images_keep_transparency_only_where_they_have_it(tmp_path):
    rgba = np.arange(4 * 5 * 4, dtype=np.uint8).reshape(4, 5, 4)
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    Image.fromarray(rgba[..., 0]).save(tmp_path / "grey.png")
    assert np.array_equal(read_image(tmp_path / "rgba.png"), rgba)
    assert np.array_equal(read_image(tmp_path / "grey.png"), np.repeat(rgba[..., :1], 3, axis=-1))


def test_bad_images_are_input_errors(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a readable image"):
        read_image(tmp_path / "bad.png")
    with pytest.raises(InputError, match="no such image"):
        read_image(tmp_path / "none.png")


def test_images_are_upright_and_deep_grey_keeps_its_tones(tmp_path):
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    exif = Image.Exif()
    exif[0x0112] = 8  # the camera was held so that the image must be turned left
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "turned.png"), np.rot90(pixels))
    Image.fromarray(np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)).save(tmp_path / "deep.png")
    assert np.array_equal(read_image(tmp_path / "deep.png")[..., 0].ravel(), np.arange(256))


def test_images_without_a_range_or_of_too_many_pixels_are_refused(tmp_path, monkeypatch):
    for values, said in (([0, 3], "0 to 3"), ([-1, 1], "-1 to 1"), ([0, np.nan], "floating-point")):
        Image.fromarray(np.array([values], np.float32)).save(tmp_path / "float.tif")
        with pytest.raises(InputError, match=f"float.tif: holds .*{said}.*must hold 0 to 1"):
            read_image(tmp_path / "float.tif")
    Image.new("L", (9, 9)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    with pytest.raises(InputError, match=r"large\.png: an image of more than 0 million pixels .* scale it down"):
        read_image(tmp_path / "large.png")


def three_ways(image: Image.Image, file: Path, **options) -> list[np.ndarray]:
    """An image as its file, as what Pillow opens, and as the file's bytes are read."""
    image.save(file, **options)
    return [read_image(file), image_pixels(Image.open(file)), decode_image(file.read_bytes(), "bytes")]


def ramp(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape) * 255 // (np.prod(shape) - 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_is_upright_in_whichever_way_it_is_given(tmp_path, orientation):
    pixels = ramp(6, 8, 3).astype(np.uint8)
    turns = {1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1]}
    turns |= {5: turns[1], 6: np.rot90(pixels, -1), 7: turns[3], 8: np.rot90(pixels)}
    turns |= {5: pixels.transpose(1, 0, 2), 7: pixels[::-1, ::-1].transpose(1, 0, 2)}
    exif = Image.Exif()
    exif[0x0112] = orientation
    for read in three_ways(Image.fromarray(pixels), tmp_path / "a.png", exif=exif):
        assert np.array_equal(read, turns[orientation])


def test_greys_of_any_depth_keep_their_tones(tmp_path):
    deep = (ramp(16, 16) * 257).astype(np.uint16)
    for read in three_ways(Image.fromarray(deep), tmp_path / "deep.png"):
        assert np.array_equal(read[..., 0], ramp(16, 16))
    for read in three_ways(Image.fromarray(deep.astype(np.int32)), tmp_path / "whole.tif"):
        assert np.array_equal(read[..., 0], ramp(16, 16))
    for read in three_ways(Image.fromarray((ramp(16, 16) / 255).astype(np.float32)), tmp_path / "float.tif"):
        assert np.array_equal(read[..., 0], ramp(16, 16))
    for read in three_ways(Image.fromarray(ramp(4, 4) > 99), tmp_path / "bits.png"):
        assert np.array_equal(read[..., 1], np.where(ramp(4, 4) > 99, 255, 0))


def profile(name: str) -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes()


def shrunk_gamut() -> bytes:
    """An RGB profile whose red and green are swapped: no reader can take it for sRGB by mistake."""
    data = bytearray(profile("sRGB"))
    tags = {bytes(data[at : at + 4]): at for at in range(132, 132 + 12 * int.from_bytes(data[128:132]), 12)}
    red, green = tags[b"rXYZ"], tags[b"gXYZ"]
    data[red : red + 4], data[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(data).replace(b"s\0R\0G\0B", b"s\0W\0A\0P").replace(b"sRGB", b"sWAP")


def test_a_profile_is_turned_into_srgb_and_srgb_itself_is_left_alone(tmp_path):
    red = Image.new("RGB", (4, 4), (200, 30, 40))
    for read in three_ways(red, tmp_path / "swapped.png", icc_profile=shrunk_gamut()):
        assert np.abs(read[0, 0].astype(int) - (30, 200, 40)).max() <= 3
    for read in three_ways(red, tmp_path / "same.png", icc_profile=profile("sRGB")):
        assert (read == (200, 30, 40)).all()


def linear_light() -> bytes:
    """sRGB's colours in linear light, which has "sRGB" in its name, as programs that work in it write it."""
    data = bytearray(profile("sRGB"))
    curve = data.index(b"para") + 12  # of (a·x + b)^g: g first, then a, b, c, d
    data[curve : curve + 20] = b"".join((value << 16).to_bytes(4) for value in (1, 1, 0, 1, 0))
    return bytes(data)


def test_linear_light_is_no_srgb_whatever_its_name(tmp_path):
    for read in three_ways(Image.new("RGB", (4, 4), (55, 128, 255)), tmp_path / "a.png", icc_profile=linear_light()):
        assert np.abs(read[0, 0].astype(int) - (128, 188, 255)).max() <= 2


def test_a_profile_leaves_alpha_alone(tmp_path):
    image = Image.new("RGBA", (4, 4), (200, 30, 40, 77))
    for read in three_ways(image, tmp_path / "alpha.png", icc_profile=shrunk_gamut()):
        assert np.abs(read[0, 0].astype(int) - (30, 200, 40, 77)).max() <= 3 and read[0, 0, 3] == 77


def test_a_profile_that_is_broken_or_of_other_colours_is_told(tmp_path, caplog):
    image = Image.new("RGB", (4, 4), (200, 30, 40))
    with caplog.at_level(logging.WARNING):
        for data in (b"nothing", profile("XYZ")):
            for read in three_ways(image, tmp_path / "odd.png", icc_profile=data):
                assert (read == (200, 30, 40)).all()
    assert caplog.text.count("its colour profile cannot be used") == 6  # three ways, two profiles


def test_cmyk_is_read_as_its_inks(tmp_path):
    for inks, colour in (((0, 0, 0, 0), (255, 255, 255)), ((0, 255, 255, 0), (255, 0, 0)), ((0, 0, 0, 255), (0, 0, 0))):
        for read in three_ways(Image.new("CMYK", (16, 16), inks), tmp_path / "inks.jpg", quality=100):
            assert np.abs(read[8, 8].astype(int) - colour).max() <= 3


def test_transparency_of_palettes_and_of_one_colour_is_alpha(tmp_path):
    picture = Image.new("P", (4, 4), 1)
    picture.putpalette([0, 0, 0, 250, 10, 20])
    picture.putpixel((0, 0), 0)
    for read in three_ways(picture, tmp_path / "palette.png", transparency=0):
        assert read.shape == (4, 4, 4) and read[0, 0, 3] == 0 and (read[1:, 1:] == (250, 10, 20, 255)).all()


def test_formats_that_other_programs_would_draw_are_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")
    with pytest.raises(InputError, match=r"a\.png: not a readable image file"):
        read_image(tmp_path / "a.png")


def test_damage_of_any_kind_is_one_line(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(ramp(16, 16, 3).astype(np.uint8)).save(buffer, "PNG")
    whole = buffer.getvalue()
    for place in range(0, whole.index(b"IDAT") + 20, 3):
        (tmp_path / "cut.png").write_bytes(whole[:place])
        with pytest.raises(InputError) as error:
            read_image(tmp_path / "cut.png")
        assert "\n" not in str(error.value) and "cut.png: not a readable image" in str(error.value)


@pytest.mark.skipif(not CASES.is_dir(), reason="the collection of cases is not there")
def test_cases_are_read_alike_from_a_file_and_from_memory():
    for name in ("exif6.jpg", "g16.png", "hidden.png"):
        assert np.array_equal(read_image(CASES / name), image_pixels(Image.open(CASES / name)))
    assert len(np.unique(read_image(CASES / "g16.png"))) > 100
