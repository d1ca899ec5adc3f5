"""Pictures of objects: which are kept, what they are called, and where clips show them."""

import importlib.util
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw

if importlib.util.find_spec("cv2") is None:
    pytest.skip("opencv-python-headless is not installed", allow_module_level=True)

from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.simulators.pictures import captions, motion, objects
from vgen.simulators.pictures.clips import OBJECT, kinds, make_clip
from vgen.simulators.pictures.layers import Layer, draw_clip
from vgen.simulators.pictures.objects import cropped, noun, words_of
from vgen.simulators.pictures.photographs import prepare
from vgen.simulators.pictures.recorder import record
from vgen.simulators.pictures.scenery import Scenery
from vgen.simulators.pictures.scenes import Order
from vgen.simulators.pictures.settings import PicturesRecording
from vgen.simulators.pictures.sprites import of_object

GREEN = (0, 250, 0)
MANGOES = [f"mango{number}" for number in range(16)]  # two of them are for testing, by their names


def oval(colour=GREEN, size=(200, 150), box=(30, 20, 170, 120), alpha=255):
    """An ellipse of one colour on nothing; what is not seen is white, as in many such files."""
    image = Image.new("RGBA", size, (255, 255, 255, 0))
    ImageDraw.Draw(image).ellipse(box, fill=(*colour, alpha))
    return image


def grey_noise(seed, size=(320, 240)):
    noise = np.random.default_rng(seed).integers(60, 200, (12, 16), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).convert("RGB")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two photographs (one for testing, by its name), ovals of many shapes, a copy, a mirror image, and what is no
    object."""
    folder = tmp_path_factory.mktemp("photos")
    grey_noise(0).save(folder / "Garden.png")
    grey_noise(1).save(folder / "meadow.png")
    for number, name in enumerate(MANGOES):
        oval((40 * (number % 4), 250, 40 * (number // 4)), box=(30, 20, 110 + 5 * number, 110)).save(
            folder / f"{name}.png"
        )
        (folder / f"{name}.txt").write_text("A green mango.\nfr.utf8=Une mangue.\n")
    lopsided = oval()
    ImageDraw.Draw(lopsided).rectangle((30, 20, 90, 120), fill=(200, 0, 0, 255))
    lopsided.save(folder / "pear.png")
    lopsided.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "pear_mirror.png")
    lopsided.save(folder / "pear_copy.png")
    oval(box=(30, 20, 80, 120)).save(folder / "narrow.png")
    oval(alpha=120).save(folder / "glass.png")
    Image.new("RGBA", (90, 90), (1, 2, 3, 0)).save(folder / "nothing.png")
    ring = Image.new("RGBA", (200, 200), (0, 0, 0, 0))
    ImageDraw.Draw(ring).ellipse((10, 10, 190, 190), outline=(*GREEN, 255), width=4)
    ring.save(folder / "ring.png")
    return folder


@pytest.fixture(scope="module")
def found(folder, tmp_path_factory):
    with ThreadPoolExecutor(1) as pool:
        return prepare(folder, tmp_path_factory.mktemp("cache"), pool)


def test_objects_are_kept_once_cut_to_what_is_seen_and_some_for_testing(found):
    aside = {name for name in MANGOES if zlib.crc32(name.encode()) % 8 == 0}
    assert {each.name: each.held_out for each in found.photographs} == {"Garden": True, "meadow": False}
    objects = {each.name: each for each in found.objects}
    assert set(objects) == {*MANGOES, "pear"} and 0 < len(aside) < len(MANGOES)
    assert {name for name in MANGOES if objects[name].held_out} == aside
    assert {each.name for each in found.of(held_out=True).objects} - {"pear"} == aside
    mango = objects["mango3"]
    assert mango.pixels().shape == (91, 96, 4) and mango.longest == 96
    assert mango.words == ("a green mango", "a mango") and objects["pear"].words == ("a pear",)


def test_what_is_not_seen_leaves_no_trace():
    pixels = cropped(np.array(oval((200, 30, 40))))
    assert tuple(pixels[50, 70]) == (200, 30, 40, 255) and not pixels[0, 0].any()
    large = cropped(np.array(oval((200, 30, 40), (2000, 1600), (100, 100, 1900, 1300))))
    assert max(large.shape) == 512 and (large[..., 0] <= large[..., 3] * (200 / 255) + 1).all(), "no white rim"
    assert cropped(np.array(oval(box=(30, 20, 80, 120)))) is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("A mango.", ("a mango",)),
        ("A red kangaroo.\n", ("a red kangaroo", "a kangaroo")),
        ("An orange fish!", ("an orange fish", "a fish")),
        ("A sea lion.", ("a sea lion",)),
        ("A pair of cherries.", ("a pair of cherries",)),
        ("A chick inside an egg.", ("a chick inside an egg", "a chick")),
        ("A baby sheep (a lamb).", ("a baby sheep",)),
        ("A “Fuji” apple.", ("a Fuji apple",)),
        ("A plumber\u2019s wrench.", ("a plumber's wrench",)),
        ("A wheelie bin! Give me your trash!", ("a wheelie bin",)),
        ("Two flowers.", None),  # "two flowers moves"
        ("A caf\ufffd.", None),
        ("An hourglass.", ("an hourglass",)),
        ("A blue unicycle.", ("a blue unicycle", "a unicycle")),
        ("A stethoscope lets your doctor listen to your heart and lungs.", None),
        ("A dog is good.", None),
        ("Eat your broccoli!", None),
        ("A", None),
        ("", None),
    ],
)  # fmt: skip
def test_a_description_that_is_a_short_noun_is_the_word_for_it(line, words):
    assert noun(line) == words


def test_what_has_no_description_is_called_by_its_file(tmp_path):
    names = ("sea_lion", "Lightbulb2", "old-naval-shell", "IMG_1234", "747", "a_b_c_d", "x" * 9, "photo-2")
    words = [words_of(tmp_path / f"{name}.png") for name in names]
    thing = ("a thing",)
    assert words == [("a sea lion",), ("a lightbulb",), ("an old naval shell",), thing, thing, thing, thing, thing]
    (tmp_path / "b.txt").write_bytes(b"A \xff\xfe long and winding description.\n" * 9)
    assert words_of(tmp_path / "b.png") == thing
    (tmp_path / "hat.txt").write_text("A magnificently embroidered headdress.")
    assert words_of(tmp_path / "hat.png") == thing, "captions have no room for it"


def test_an_object_keeps_its_shape_in_its_square_and_is_sometimes_mirrored(found):
    pear = next(each for each in found.objects if each.name == "pear")
    seen = set()
    for seed in range(8):
        sprite = of_object(np.random.default_rng(seed), pear.pixels(), pear.name, pear.words, 100)
        assert sprite.pixels.shape == (100, 100, 4) and (sprite.pixels[..., :3] <= sprite.pixels[..., 3:]).all()
        rows, columns = (np.flatnonzero((sprite.pixels[..., 3] > 127).any(axis)) for axis in (1, 0))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert width == 98 and abs(width / height - 141 / 101) < 0.03 and abs(rows.mean() - 49.5) < 1
        seen.add(bool(sprite.pixels[50, 25, 0] > 100))
    assert seen == {True, False}


def clips(found, kind, count, size=(64, 96), seed=0):
    """The first clips of a kind."""
    scenery = Scenery(found.photographs, size, found.objects)
    deck = kinds()
    numbers = [number for number in range(len(deck) * count) if deck[number % len(deck)] == kind][:count]
    return [make_clip(scenery, seed, number, 9) for number in numbers]


def test_an_object_is_seen_where_it_flies_and_its_caption_names_it(found):
    """Grounds are grey photographs here: the middle of what is green is the object's."""
    grey = [replace(each, held_out=True) for each in found.photographs if each.name == "meadow"]  # in training too
    mangoes = [each for each in found.objects if each.name in MANGOES]
    shown = 0
    for clip in clips(replace(found, photographs=grey, objects=mangoes), "object", 30):
        if not any(name in clip.about["pictures"] for name in MANGOES) or "meadow" not in clip.about["pictures"]:
            continue
        assert "mango" in clip.caption and len(clip.caption.encode()) <= captions.LONGEST
        for frame, (x, y, radius) in zip(clip.frames.astype(int), clip.columns[OBJECT], strict=True):
            if abs(x) + radius > 48 or abs(y) + radius > 32:
                continue  # it is cut by the frame
            green = (frame[..., 1] - frame[..., [0, 2]].max(-1)).clip(0) > 60
            rows, columns = np.nonzero(green)
            assert abs(columns.mean() - 47.5 - x) < 1.5 and abs(rows.mean() - 31.5 - y) < 1.5
            assert np.pi * radius**2 * 0.5 < green.sum() < np.pi * radius**2 * 1.05
            shown += 1
    assert shown > 20


def test_a_good_share_of_things_are_objects_and_some_stand_on_photographs(found):
    known = {each.name for each in found.objects}
    flying = [bool(known & set(clip.about["pictures"].split(", "))) for clip in clips(found, "object", 40, (32, 32))]
    assert 0.4 < np.mean(flying) < 0.8
    panned = clips(found, "pan", 40, (32, 32))
    standing = [known & set(clip.about["pictures"].split(", ")) for clip in panned]
    assert 3 < sum(map(bool, standing)) < 20
    for clip, names in zip(panned, standing, strict=True):
        assert not names or "mango" in clip.caption or "pear" in clip.caption
        assert not clip.columns[OBJECT].any()


def test_a_standing_object_moves_with_the_ground(found):
    """At its place in the middle frame, and there after a zoom and a turn as well."""
    path = motion.Path(np.array([0.0, 4, 8]), np.array([0.0, -3, -6]), np.array([0.8, 1, 1.3]), np.array([0, 0.3, 0.6]))
    scenery = Scenery([], (64, 96), [each for each in found.objects if each.name == "mango3"])
    orders = (Order("pan", scenery, 3, np.random.default_rng(seed)) for seed in range(40))
    sprite, layer = next(filter(None, (order.standing(path) for order in orders)))
    assert sprite.words == ("a green mango", "a mango")
    black = Layer(np.zeros((400, 400, 3), np.uint8), (-100, -100), (2, 2), path)
    frames = draw_clip([black, layer], (64, 96))[..., 1]
    rows, columns = np.mgrid[:64, :96]
    places = [
        complex((columns * frame).sum() / frame.sum() - 47.5, (rows * frame).sum() / frame.sum() - 31.5)
        for frame in frames
    ]
    on_ground = [complex(path.x[t], path.y[t]) + np.exp(1j * path.turn[t]) * places[t] / path.zoom[t] for t in range(3)]
    assert abs(places[1].real) <= 25 and abs(places[1].imag) <= 17
    assert np.abs(np.diff(on_ground)).max() < 0.3


def test_small_objects_are_not_enlarged_much(found):
    rng = np.random.default_rng(0)
    scenery = Scenery([], (64, 64), found.objects)
    sizes = {scenery.object(rng, 180).longest for _ in range(40)}
    assert min(sizes) >= 120 and scenery.object(rng, 10_000) is None


def test_without_objects_nothing_else_is_drawn(found):
    rng = np.random.default_rng(4)
    scenery = Scenery(found.photographs, (64, 64))
    assert scenery.object(rng, 10) is None and Order("pan", scenery, 3, rng).standing(motion.still(3)) is None
    assert rng.random() == np.random.default_rng(4).random()


def test_captions_of_objects_are_short_enough(found):
    named = [replace(each, words=("a" + "n" * (objects.BYTES - 1),)) for each in found.objects]
    scenery = Scenery(found.photographs, (32, 48), named)
    for number in range(100):
        caption = make_clip(scenery, 9, number, 3).caption
        assert 10 < len(caption.encode()) <= captions.LONGEST, caption


def test_objects_for_testing_are_in_no_clip_of_training(folder, found, tmp_path):
    out = tmp_path / "set"
    record(PicturesRecording(out, folder, 40, 40, size="32x32", frames=3, cache=tmp_path / "cache"))
    shown = {}
    for split, clip_count in (("train", 40), ("test", 40)):
        data = LeRobotDataset(out, split=split)
        shown[split] = {name for i in range(clip_count) for name in data.episode(i).extra["pictures"].split(", ")}
    aside = {each.name for each in (*found.objects, *found.photographs) if each.held_out}
    assert not shown["train"] & aside and shown["test"] <= aside | {""}
    assert shown["train"] & {*MANGOES} and shown["test"] & {*MANGOES}


def test_a_text_that_was_changed_is_read_again(tmp_path):
    oval().save(tmp_path / "seed.png")
    with ThreadPoolExecutor(1) as pool:
        assert prepare(tmp_path, tmp_path / ".cache", pool).objects[0].words == ("a seed",)
        (tmp_path / "seed.txt").write_text("A black stone.")
        assert prepare(tmp_path, tmp_path / ".cache", pool).objects[0].words == ("a black stone", "a stone")
