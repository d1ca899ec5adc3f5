import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from uneven_videos import write_uneven

from vgen.canvas.spec import Canvas, Patch
from vgen.errors import InputError
from vgen.media.pages import PagesFile
from vgen.media.placing import load_patch
from vgen.media.source import media_length, open_clip, read_media
from vgen.media.video import VideoFile
from vgen.media.writing import write_video

CASES = Path(__file__).parents[2] / "../shared/cases"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason="the collection of cases is not there")

COLOURS = [(250, 20, 20), (20, 250, 20), (20, 20, 250), (250, 250, 20), (20, 250, 250)]
DURATIONS = [100, 100, 400, 100, 300]  # milliseconds


def pictures(alpha: bool = False) -> list[Image.Image]:
    """One flat colour each; with alpha, the left half is transparent."""
    drawn = []
    for colour in COLOURS:
        picture = Image.new("RGBA" if alpha else "RGB", (32, 24), (*colour, 255) if alpha else colour)
        if alpha:
            picture.paste((0, 0, 0, 0), (0, 0, 16, 24))
        drawn.append(picture)
    return drawn


def animation(file: Path, alpha: bool = False, **options) -> Path:
    first, *others = pictures(alpha)
    timed = {} if file.suffix == ".tif" else {"duration": DURATIONS}
    first.save(file, save_all=True, append_images=others, **timed, **options)
    return file


KINDS = {".gif": {}, ".png": {}, ".webp": {"lossless": True}, ".avif": {"quality": 100}, ".tif": {}}


@pytest.mark.parametrize("suffix", KINDS)
def test_an_animation_is_a_clip_in_whichever_way_it_is_given(tmp_path, suffix):
    file = animation(tmp_path / f"a{suffix}", **KINDS[suffix])
    clip = open_clip(file)
    assert isinstance(clip, PagesFile) and clip.info.frames == media_length(file) == media_length(Image.open(file)) == 5
    for read in (read_media(file), read_media(Image.open(file)), clip.read(range(5))):
        assert np.abs(read[:, 12, 24, :3].astype(int) - COLOURS).max() <= (8 if suffix == ".avif" else 0)
    assert np.array_equal(read_media(file, [4, 0, 0, 2]), read_media(file)[[4, 0, 0, 2]])
    if suffix != ".tif":
        assert np.allclose(clip.times, [0, 0.1, 0.2, 0.6, 0.7], atol=2e-3) and not clip.info.steady
        assert clip.shown([0, 0.59, 0.6, 0.95, 9]).tolist() == [0, 2, 3, 4, 4]


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_the_alpha_of_an_animation_is_the_mask_of_a_patch(tmp_path, suffix):
    options = KINDS[suffix] | {"kmax": 1}  # of WebP: whole pictures, or its writer leaves the alpha out
    file = animation(tmp_path / f"a{suffix}", alpha=True, **options)
    placed = load_patch(Patch(file), Canvas(17, 24, 32))
    assert len(placed) == 5
    for frame in placed:
        assert not frame.mask[..., :16].any() and frame.mask[..., 16:].all() and (frame.pixels[..., :16] == 0).all()
    assert (PagesFile(file).read([1])[0, 12, 8] == 128).all()  # laid on grey where no alpha is wanted


def test_an_animated_picture_is_no_video_file(tmp_path):
    for suffix in (".webp", ".avif"):
        with pytest.raises(InputError, match="a picture, animated or not, and no video"):
            VideoFile(animation(tmp_path / f"a{suffix}"))


def test_a_still_in_an_animated_format_is_an_image(tmp_path):
    for suffix, options in KINDS.items():
        pictures()[0].save(tmp_path / f"a{suffix}", **options)
        assert open_clip(tmp_path / f"a{suffix}") is None and media_length(tmp_path / f"a{suffix}") == 1
        assert read_media(tmp_path / f"a{suffix}").shape == (1, 24, 32, 3)


def test_what_a_file_holds_counts_and_not_its_name(tmp_path):
    write_video(tmp_path / "clip.mp4", np.zeros((5, 32, 32, 3), np.uint8), fps=10)
    (tmp_path / "clip.png").write_bytes((tmp_path / "clip.mp4").read_bytes())
    assert isinstance(open_clip(tmp_path / "clip.png"), VideoFile)
    pictures()[0].save(tmp_path / "still.png")
    (tmp_path / "still.mp4").write_bytes((tmp_path / "still.png").read_bytes())
    assert open_clip(tmp_path / "still.mp4") is None


def test_previews_in_a_tiff_are_no_frames(tmp_path):
    import tifffile

    with tifffile.TiffWriter(tmp_path / "a.tif") as out:
        out.write(np.full((24, 32, 3), 90, np.uint8), photometric="rgb")
        out.write(np.full((12, 16, 3), 90, np.uint8), photometric="rgb", subfiletype=1)
    assert open_clip(tmp_path / "a.tif") is None
    with tifffile.TiffWriter(tmp_path / "b.tif") as out:
        out.write(np.full((24, 32, 3), 90, np.uint8), photometric="rgb")
        out.write(np.full((12, 16, 3), 90, np.uint8), photometric="rgb")
    with pytest.raises(InputError, match="page 1 is of 12x16 and page 0 of 24x32"):
        open_clip(tmp_path / "b.tif")


def test_both_views_of_a_stereo_photograph_are_no_clip(tmp_path):
    first, second = pictures()[:2]
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])
    assert open_clip(tmp_path / "a.jpg") is None and media_length(Image.open(tmp_path / "a.jpg")) == 1


@pytest.mark.parametrize("name", ["a" * 5000 + ".png", "b/" * 5000, "c\0.png"])
def test_a_name_that_no_file_can_have_is_refused(name):
    with pytest.raises(InputError, match="does not exist"):
        open_clip(name)


@pytest.mark.parametrize("content", [b"hello\n" * 99, b"", b"#EXTM3U\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n"])
def test_what_is_neither_is_refused(tmp_path, content):
    (tmp_path / "a.dat").write_bytes(content)
    with pytest.raises(InputError, match="neither an image nor a clip"):
        open_clip(tmp_path / "a.dat")
    for suffix, kind in ((".png", "image"), (".mp4", "video")):
        (tmp_path / f"a{suffix}").write_bytes(content)
        with pytest.raises(InputError, match=f"not a readable {kind} file"):
            open_clip(tmp_path / f"a{suffix}")


def test_a_clip_of_a_variable_rate_is_told(tmp_path, caplog):
    file = write_uneven(tmp_path / "a.mp4")
    with caplog.at_level(logging.WARNING):
        placed = load_patch(Patch(file), Canvas(17, 32, 32))
    assert len(placed) == 7 and "a.mp4@0 has a variable rate, around 30 fps" in caplog.text


@needs_cases
def test_cases_have_their_alpha_shape_and_length():
    for name in ("prores4444.mov", "tr.gif", "vp9a.webm"):
        placed = load_patch(Patch(CASES / "alpha-clips" / name), Canvas(17, 128, 128))
        share = np.mean([float(frame.mask.float().mean()) for frame in placed])
        assert share == pytest.approx(0.098, abs=0.006), name
    assert media_length(CASES / "images/anim.webp") == 8
    assert read_media(CASES / "pixel-aspect/sar.mp4", [0]).shape == (1, 192, 320, 3)


@pytest.mark.parametrize("suffix", [".mkv", ".avi"])
def test_half_of_a_download_is_told(tmp_path, caplog, suffix):
    write_video(tmp_path / f"whole{suffix}", np.random.default_rng(0).integers(0, 255, (40, 64, 64, 3), np.uint8), 10)
    whole = (tmp_path / f"whole{suffix}").read_bytes()
    (tmp_path / f"half{suffix}").write_bytes(whole[: len(whole) // 2])
    with caplog.at_level(logging.WARNING):
        assert VideoFile(tmp_path / f"whole{suffix}").info.frames == 40 and not caplog.records
        assert 10 < VideoFile(tmp_path / f"half{suffix}").info.frames < 30
    assert f"half{suffix}: breaks off; it says 4.00 s and holds" in caplog.text


def test_an_address_is_told_from_a_path_and_a_suffix_makes_no_neighbour(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "coffee.png").touch()
    with pytest.raises(InputError, match="is an address, and only files of this machine are read"):
        media_length("https://example.com/cat.png")
    with pytest.raises(InputError, match=r"nothere.png does not exist$"):
        media_length("nothere.png")
    with pytest.raises(InputError, match=r"cofee.png does not exist; did you mean coffee.png\?"):
        media_length("cofee.png")
