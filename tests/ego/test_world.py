"""EgoWorld on a tiny model: what it takes for frames and actions, and what it refuses."""

import accelerate
import numpy as np
import pytest
import torch
from ego_models import RATE, SIZE, save_model
from PIL import Image

from vgen.canvas.pipeline import CanvasPipeline
from vgen.ego.rollout import RolloutSettings
from vgen.ego.world import EgoWorld
from vgen.errors import InputError
from vgen.models import TrainingRange
from vgen.trajectory.convert import to_delta
from vgen.trajectory.trajectory import Trajectory

LAYOUT, WIDTH = "position4", 4
FRAME = np.random.default_rng(3).integers(0, 256, (*SIZE, 3), np.uint8)
ROWS = np.random.default_rng(4).normal(size=(4, WIDTH))


@pytest.fixture(scope="module")
def folder(tiny_model, vae, tmp_path_factory):
    return save_model(tiny_model, tmp_path_factory.mktemp("world") / "model", vae, parts=("ego",))


def load(folder):
    return EgoWorld.from_pretrained(folder, settings=RolloutSettings(steps=1))


def test_the_world_normalises_actions_and_gives_frames(folder):
    world = EgoWorld.from_pretrained(folder, settings=RolloutSettings(steps=2))
    assert (world.layout, world.form, world.rate) == (LAYOUT, "absolute", RATE)
    frame = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    rows = np.random.default_rng(1).normal(size=(2, 8, WIDTH))
    world.reset(frame, "a cat", past=rows[0, :1], futures=2, seed=3)
    both = world.step(rows)
    assert both.shape == (2, 8, *SIZE, 3) and both.dtype == np.uint8 and not np.array_equal(both[0], both[1])
    world.reset(frame, "a cat", past=rows[0, :1], seed=3)
    one = world.step(rows[0])
    world.reset(frame, "a cat", past=rows[0, :1], seed=3)
    assert np.array_equal(one, world.step(rows[0])) and one.shape == (8, *SIZE, 3)


def test_what_the_model_was_not_trained_for_is_said_once(folder, caplog):
    world = load(folder)
    world.pipe.trained = TrainingRange(((64, 64),), words=frozenset({"open"}))
    for text in ("opening the box", "opening the box", "open"):
        world.reset(FRAME, text)
    told = [record.message.partition(" was trained on: ")[2] for record in caplog.records]
    size = "32x64 pixels (trained: 64x64)"
    assert told == [f'{size}, the word "box"; the result will be poor', f"{size}; the result will be poor"]


def test_an_offloaded_model_makes_the_same(folder):
    """Layers wait elsewhere, as under --offload sequential; here the device that they come to is the CPU itself."""
    videos = []
    for offloaded in (False, True):
        world = EgoWorld.from_pretrained(folder, settings=RolloutSettings(steps=1))
        assert world.pipe._exclude_from_cpu_offload == ["ego"]
        if offloaded:
            for module in (world.pipe.transformer, world.pipe.vae):
                accelerate.cpu_offload(module, "cpu")
            assert world.pipe.transformer.device.type == "meta"
        world.reset(FRAME, "a cat")
        videos.append(world.step(ROWS + 0.1))
    assert np.array_equal(*videos)


def walk():
    return Trajectory(ROWS, np.arange(4) / RATE, layout=LAYOUT)


def test_arrays_may_be_of_numpy_of_torch_or_lists(folder):
    world, videos = load(folder), []
    for frames, past, actions in (
        (FRAME, ROWS[:1], ROWS),
        (FRAME[None], ROWS[0], walk()),
        (torch.from_numpy(FRAME), torch.from_numpy(ROWS[0]), torch.from_numpy(ROWS)),
        ([torch.from_numpy(FRAME)], [torch.from_numpy(ROWS[0])], [torch.from_numpy(row) for row in ROWS]),
        (FRAME.tolist(), ROWS[0].tolist(), ROWS.tolist()),
        ([Image.fromarray(FRAME)], [ROWS[0]], list(ROWS)),
        (Image.fromarray(FRAME), walk().rows(0, 1), ROWS.astype(np.float32)),
    ):
        world.reset(frames, "a cat", past)
        videos.append(world.step(actions))
    assert all(np.array_equal(video, videos[0]) for video in videos[1:]) and videos[0].shape == (4, *SIZE, 3)


def test_one_action_may_come_without_its_axis(folder):
    world, videos = EgoWorld.from_pretrained(folder, settings=RolloutSettings(advance=1, steps=1)), []
    for action in (ROWS[0], ROWS[:1]):
        world.reset(FRAME)
        videos.append(world.step(action))
    assert np.array_equal(*videos) and videos[0].shape == (1, *SIZE, 3)


def test_a_refused_reset_leaves_the_world_as_it_was(folder):
    world, videos = load(folder), []
    for spoil in (False, True):
        world.reset(FRAME, "a cat", ROWS[:1])
        if spoil:
            with pytest.raises(InputError):
                world.reset(FRAME, futures=2, past=np.stack([ROWS] * 3))
        videos.append(world.step(ROWS))
    assert np.array_equal(*videos)


def test_a_model_without_a_front_end_is_refused_in_one_line(tiny_model):
    with pytest.raises(InputError, match=r"^model .* has no ego front-end: it has no ego/; use nano, or train one"):
        EgoWorld.from_pretrained(tiny_model)
    with pytest.raises(InputError, match=r"^model .* has no ego front-end"):
        EgoWorld(CanvasPipeline.from_pretrained(tiny_model))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda world: world.step(np.zeros((4, WIDTH))), r"no frame yet; call reset"),
        (lambda world: world.reset(FRAME.astype(float)), r"frames are float64 .* must be uint8"),
        (lambda world: world.reset(FRAME[..., :1]), r"must be uint8 \[H, W, 3\]"),
        (lambda world: world.reset(FRAME[:0][None][:0]), r"must be uint8"),
        (lambda world: world.reset(np.zeros((30, 64, 3), np.uint8)), r"30x64"),
        (
            lambda world: (world.reset(FRAME), world.step(np.zeros((3, WIDTH)))),
            r"^3 actions do not fit advance=4; .*: 4",
        ),
        (lambda world: (world.reset(FRAME), world.step(np.zeros((4, 3)))), r"3 columns; layout position4 has 4"),
        (lambda world: (world.reset(FRAME), world.step(np.full((4, WIDTH), np.nan))), r"values\[0, 0\].* is nan"),
        (lambda world: EgoWorld(world.pipe, "position5"), r"position4"),
        (lambda world: world.reset(FRAME, futures=0), r"futures=0 must lie in 1 to"),
        (
            lambda world: (world.reset(FRAME, futures=2), world.step(ROWS)),
            r"of 1 futures, not of 2; give \[2, 4, 4\]",
        ),
        (
            lambda world: (world.reset(FRAME), world.step(np.stack([ROWS] * 2))),
            r"of 2 futures, not of 1; give \[1, 4, 4\]",
        ),
        (lambda world: world.reset(FRAME, past=np.stack([ROWS] * 3), futures=2), r"past is of 3 futures"),
        (lambda world: world.reset(FRAME, goals=[(FRAME, None, -3)]), r"a goal at frame -3 is not ahead; nearest: 1"),
        (lambda world: world.reset(FRAME, goals=[(FRAME, None, np.nan)]), r"the frame of a goal=.* finite"),
        (lambda world: world.reset(FRAME, goals=[(FRAME[:16], None, 4)]), r"the goal is of .* as large as the frames"),
        (lambda world: world.reset(FRAME, goals=[(FRAME, np.ones((3, 3)), 4)]), r"the mask of a goal is of \[3, 3\]"),
        (
            lambda world: world.reset(FRAME, goals=[(FRAME, np.ones(SIZE) * 255.0, 4)]),
            r"mask of a goal .* outside of 0 to 1",
        ),
        (
            lambda world: world.reset(FRAME, goals=[(FRAME, np.ones(SIZE) * np.nan, 4)]),
            r"mask of a goal .* outside of 0 to 1",
        ),
        (lambda world: world.reset([[0]]), r"frames are int64 \[1, 1\] and must be uint8 \[H, W, 3\]"),
        (lambda world: world.reset([FRAME, FRAME[:8]]), r"frames hold parts of different shapes"),
        (lambda world: world.reset(torch.zeros(3, *SIZE)), r"frames are float32 \[3, 32, 64\] and must be uint8"),
        (lambda world: world.reset((FRAME.astype(int) + 256).tolist()), r"frames are int64"),
        (lambda world: world.reset(FRAME, past=3.0), r"past of shape \[\] must be \[D\], \[A, D\]"),
        (lambda world: world.reset(FRAME, past=[]), r"past of shape \[0\] must be"),
        (lambda world: world.reset(FRAME, past=ROWS[0, :3]), r"3 columns; layout position4 has 4"),
        (lambda world: world.reset(FRAME, past=[["a"] * 4]), r"values hold .* must hold numbers"),
        (lambda world: world.reset(FRAME, past=to_delta(walk())), r"is position4 \(delta\); the statistics are of"),
        (lambda world: world.reset(FRAME, text=3), r"text=3 must be text"),
        (lambda world: world.reset(FRAME, seed=-1), r"seed=-1 must lie in 0 to"),
        (lambda world: world.reset(FRAME, seed=0.5), r"seed=0.5 must be a whole number"),
    ],
)
def test_what_a_world_refuses(folder, call, message):
    with pytest.raises(InputError, match=message):
        call(load(folder))
