import numpy as np
import pytest
import torch
from PIL import Image

from vgen.canvas import tasks
from vgen.canvas.placed import place
from vgen.canvas.spec import Canvas, Patch
from vgen.errors import InputError

CANVAS = Canvas(17, 32, 64, prompt="a cat")
CAT, DOG = "cat.png", "dog.png"


@pytest.mark.parametrize(
    "made, patches",
    [
        (tasks.first_frame(CANVAS, CAT), (Patch(CAT, 0),)),
        (tasks.last_frame(CANVAS, CAT), (Patch(CAT, -1),)),
        (tasks.first_last(CANVAS, CAT, DOG), (Patch(CAT, 0), Patch(DOG, -1))),
        (tasks.first_middle_last(CANVAS, CAT, DOG, CAT), (Patch(CAT, 0), Patch(DOG, 8), Patch(CAT, -1))),
        (tasks.any_frames(CANVAS, {3.5: CAT, -2: DOG}), (Patch(CAT, 3.5), Patch(DOG, -2))),
        (tasks.any_patches(CANVAS, [(CAT, 3, (0, 0, 0.5, 1))]), (Patch(CAT, 3, (0, 0, 0.5, 1)),)),
        (tasks.outpainting(CANVAS, "v.mp4", (0.2, 0.2, 0.8, 0.8)), (Patch("v.mp4", box=(0.2, 0.2, 0.8, 0.8)),)),
        (tasks.seamless_loop(tasks.first_frame(CANVAS, DOG), np.zeros((4, 4, 3), np.uint8)), None),
    ],
)
def test_images_at_frames(made, patches):
    assert (made.frames, made.prompt) == (17, "a cat")
    if patches is not None:
        assert made.patches == patches
    else:
        assert [patch.frame for patch in made.patches] == [0, 0, -1]


def test_a_loop_leaves_something_to_generate():
    assert len(tasks.seamless_loop(CANVAS, np.zeros((8, 4, 4, 3), np.uint8)).patches) == 2
    with pytest.raises(InputError, match=r"a clip of 9 frames at both ends of a canvas of 17 leaves none"):
        tasks.seamless_loop(CANVAS, np.zeros((9, 4, 4, 3), np.uint8))


def test_inpainting_gives_what_is_around_the_hole(media):
    video = np.full((17, 32, 64, 3), 200, np.uint8)
    hole = torch.zeros(32, 64, dtype=torch.bool)
    hole[8:24, 16:32] = True
    painted = np.repeat(hole[..., None].numpy() * np.uint8(255), 3, axis=-1)
    white = 255 - painted  # is what is given
    around = [
        {"hole": (0.25, 0.25, 0.5, 0.75)},
        *({"mask": one} for one in (white, Image.fromarray(white), white[..., 0])),
    ]
    for given in around:
        [clip] = place(tasks.inpainting(CANVAS, video, **given, mode="clip")).patches
        assert clip.pixels.shape == (3, 17, 32, 64) and torch.equal(clip.mask, 1.0 - hole.float().expand(1, 17, 32, 64))
    [placed] = place(tasks.inpainting(CANVAS, media / "cat.png", mask=media / "left.png")).patches
    assert placed.mask[..., :32].all() and not placed.mask[..., 32:].any()
    for given in ({}, {"hole": (0, 0, 1, 1), "mask": white}):
        with pytest.raises(InputError, match=r"a hole .* or a mask .*; give one of them"):
            tasks.inpainting(CANVAS, video, **given)
    with pytest.raises(InputError, match=r"box=0.5,0.5,0.501,0.6 is under one pixel"):
        tasks.inpainting(CANVAS, video, hole=(0.5, 0.5, 0.501, 0.6))


def test_an_image_of_a_hole_still_means_that_white_is_filled(media):
    with pytest.warns(DeprecationWarning, match="give mask=, in which white is given"):
        [placed] = place(tasks.inpainting(CANVAS, media / "cat.png", media / "left.png")).patches
    assert placed.mask[..., 32:].all() and not placed.mask[..., :32].any()


def test_a_hole_that_moves_and_one_with_alpha():
    video = np.full((5, 32, 64, 3), 200, np.uint8)
    holes = np.zeros((5, 32, 64, 4), np.uint8)
    holes[..., :3] = 255  # white everywhere, and clear but for one column that moves
    for index in range(5):
        holes[index, :, index, 3] = 255
    with pytest.warns(DeprecationWarning):
        frames = place(tasks.inpainting(CANVAS, video, holes)).patches
    assert all(not one.mask[0, :, int(one.frame)].any() and one.mask.sum() == 32 * 63 for one in frames)
    assert len(frames) == 5


def test_extension_takes_the_last_frames(media):
    [patch] = tasks.extension(CANVAS, media / "clip9.mp4", frames=5).patches
    assert (patch.range, patch.frame) == ((4, 8), 0)
    with pytest.raises(InputError, match="frames=10 must lie in 1 to 9; nearest: 9"):
        tasks.extension(CANVAS, media / "clip9.mp4", frames=10)


def test_transition_and_loop_end_on_the_last_frame(media):
    clip = np.zeros((4, 32, 64, 3), np.uint8)
    assert [p.frame for p in place(tasks.transition(CANVAS, clip, media / "clip9.mp4")).patches] == [
        *range(4),
        *range(8, 17),
    ]
    assert [p.frame for p in place(tasks.seamless_loop(CANVAS, clip)).patches] == [0, 1, 2, 3, 13, 14, 15, 16]
    with pytest.raises(InputError, match="clips of 9 and 9 frames leave none"):
        tasks.transition(CANVAS, media / "clip9.mp4", media / "clip9.mp4")


def gradient() -> np.ndarray:
    """64 x 128 pixels whose red grows to the right and whose green grows downwards."""
    down, right = np.mgrid[0:64, 0:128]
    return np.stack([right * 2, down * 4, 0 * right], axis=-1).astype(np.uint8)


def test_zoom_out():
    frames = place(tasks.camera_move(CANVAS, gradient(), (0, 0, 1, 1), (0.25, 0.25, 0.75, 0.75), step=8)).patches
    assert [placed.frame for placed in frames] == [0, 8, 16]
    assert [placed.mask.sum().item() for placed in frames] == [32 * 64, 24 * 48, 16 * 32]
    assert all(abs(placed.pixels[0, 16, 32]) < 0.03 for placed in frames)  # the middle stays in the middle


def test_pan_shows_the_image_at_its_true_place_beyond_the_border():
    frames = place(tasks.camera_move(CANVAS, gradient(), (0, 0, 1, 1), (-0.5, 0, 0.5, 1), step=1)).patches
    assert [placed.mask[0, 0].sum().item() for placed in frames] == [64 - 2 * index for index in range(17)]
    red = torch.stack([(placed.pixels[0, 16, 0] + 1) * 127.5 for placed in frames])
    assert (red.diff()[1:] - 8).abs().max() <= 1  # two canvas pixels, four image pixels, of 2 a frame


def test_zoom_in_sees_less_and_less_of_the_image():
    last = place(tasks.camera_move(CANVAS, gradient(), (0, 0, 1, 1), (-0.5, -0.5, 1.5, 1.5))).patches[-1]
    assert last.mask.all() and last.frame == 16
    red, green = ((last.pixels[channel] + 1) * 127.5 for channel in (0, 1))
    assert red.min() > 60 and red.max() < 195 and green.min() > 60 and green.max() < 195


def test_camera_move_refuses_a_clip():
    with pytest.raises(InputError, match="over one picture, and this clip has 3"):
        tasks.camera_move(CANVAS, np.zeros((3, 4, 4, 3), np.uint8), (0, 0, 1, 1), (0, 0, 0.5, 0.5))


def test_camera_move_refuses_boxes_off_the_canvas():
    with pytest.raises(InputError, match="at frame 12 the box 1,0,2,1 lies outside"):
        tasks.camera_move(CANVAS, gradient(), (0.25, 0, 1.25, 1), (1.25, 0, 2.25, 1))
    with pytest.raises(InputError, match="box=0,0,0,1 must have -10 <= x0 < x1 <= 11"):
        tasks.camera_move(CANVAS, gradient(), (0, 0, 0, 1), (0, 0, 1, 1))
