"""Data sets of a square that a camera sees moving: where it is, exactly, and changes of what is told of it."""

import numpy as np
from scipy.spatial.transform import Rotation

from vgen.data.lerobot.writer import LeRobotWriter
from vgen.trajectory.layouts import find_layout

FPS, SIZE, ROWS = 20, 64, 70
CAMERA = "observation.images.front"
FOCAL = 60.0
HEIGHT = 0.8  # metres of the camera above the table, on which the square lies; it looks straight down
POSE = [0.3, -0.1, HEIGHT]
AXES = np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])  # the camera's x, y and z in the world, as columns
LENS = [FOCAL, FOCAL, SIZE / 2, SIZE / 2]


def paths(episodes, seed=0):
    """Centres of the square in pixels, [T, 2] of each episode: it starts, stops and turns at random."""
    rng = np.random.default_rng(seed)
    for _ in range(episodes):
        pace = np.repeat(rng.choice([0.0, 0.4, 1.0, 2.2], ROWS // 5), 5) * (0.7 + 0.3 * rng.random(ROWS))
        turn = np.cumsum(rng.normal(0, 0.35, ROWS)) + rng.random() * 6
        steps = pace[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        centre = np.array([24.0, 20.0]) + np.cumsum(steps, axis=0)
        yield 10 + np.abs((centre - 10) % 88 - 44)  # turns back at 10 and at 54


def video_of(path, seed=1):
    """uint8 [T, SIZE, SIZE, 3] of a bright square over a dark pattern."""
    ground = np.random.default_rng(seed).integers(20, 60, (SIZE, SIZE, 3))
    across = np.arange(SIZE) + 0.5
    video = np.empty((len(path), SIZE, SIZE, 3), np.uint8)
    for frame, (x, y) in zip(video, path, strict=True):
        cover = [np.clip(6.5 - np.abs(across - middle), 0, 1) for middle in (y, x)]
        share = (cover[0][:, None] * cover[1])[:, :, None]
        frame[:] = ground * (1 - share) + 220 * share
    return video


def on_table(path):
    """Where the square is in the world, in metres, [T, 3]."""
    seen = np.concatenate([(path - SIZE / 2) / FOCAL * HEIGHT, np.full((len(path), 1), HEIGHT)], axis=1)
    return seen @ AXES.T + POSE


def pose7(path):
    """The square as an end effector that points down and shuts at the middle of its way."""
    angles = np.tile([np.pi, 0.0, 0.3], (len(path), 1))
    gripper = (np.arange(len(path)) < len(path) // 2).astype(float)
    return np.concatenate([on_table(path), angles, gripper[:, None]], axis=1)


def boxes(path):
    """The square as the right hand in the picture; the left hand is never seen."""
    box = np.concatenate([path - 7, path + 7], axis=1) / SIZE
    flags = np.tile([0.0, 1.0], (len(path), 1))
    return np.concatenate([np.zeros_like(box), box, flags], axis=1)


def shifted(values, rows):
    """Values that come so many rows late; what is not known is the nearest that is."""
    return values[np.clip(np.arange(len(values)) - rows, 0, len(values) - 1)]


def write(folder, layout="pose7", change=lambda values: values, camera=False, episodes=6, seed=0, video=video_of):
    """A LeRobot folder of such episodes; the last is the split test.

    Args:
        change: of the trajectory of an episode, [T, D].
        camera: whether pose and lens of the camera are told.
        video: of a path; None: there are no frames.
    """
    tell = {"pose7": pose7, "hand_boxes": boxes}[layout]
    names = {"observation.state": find_layout(layout).names}
    quaternion = np.roll(Rotation.from_matrix(AXES).as_quat(), 1)
    more = {"observation.camera_pose": [*POSE, *quaternion], "observation.intrinsics": LENS} if camera else {}
    names |= {name: [str(place) for place in range(len(values))] for name, values in more.items()}
    cameras = [CAMERA] if video else []
    writer = LeRobotWriter(folder, FPS, names, cameras, layouts={"observation.state": layout})
    for path in paths(episodes, seed):
        columns = {"observation.state": change(tell(path))}
        columns |= {name: np.tile(values, (len(path), 1)) for name, values in more.items()}
        columns = {name: values.astype(np.float32) for name, values in columns.items()}
        writer.add_episode(columns, {key: video(path) for key in cameras}, "move the square")
    writer.finish({"train": (0, episodes - 1), "test": (episodes - 1, episodes)})
    return folder
