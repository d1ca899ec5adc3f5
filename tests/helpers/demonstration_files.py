"""HDF5 files of demonstrations, as robosuite and LIBERO write them, of one small robot."""

from pathlib import Path

import h5py
import numpy as np

BASE = np.array([-0.5, 0.1, 0.3])  # of the robot, which is turned by a quarter to the left about z
TIP = """v 0 0 0
v 0.02 0 0
v 0 0.02 0
v 0 0 0.02
f 1 3 2
f 1 2 4
f 1 4 3
f 2 3 4
"""
MODEL = """
<mujoco model="base">
  <compiler angle="radian" meshdir="meshes/"/>
  <asset><mesh name="tip" file="/home/maker/robosuite/models/assets/grippers/../meshes/tip.obj"/></asset>
  <worldbody>
    <light pos="0 0 3" dir="0 0 -1"/>
    <camera name="agentview" pos="0.9 0.1 0.9" quat="0.653 0.271 0.271 0.653" fovy="60"/>
    <geom name="floor" type="plane" size="3 3 0.1" rgba="0.9 0.9 0.9 1" group="1"/>
    <body name="robot0_base" pos="-0.5 0.1 0.3" quat="0.7071067811865476 0 0 0.7071067811865476">
      <body name="robot0_right_hand" quat="0 1 0 0">
        <joint name="robot0_x" type="slide" axis="1 0 0"/>
        <joint name="robot0_y" type="slide" axis="0 1 0"/>
        <joint name="robot0_yaw" type="hinge" axis="0 0 1"/>
        <geom name="wrong" type="sphere" size="0.2" rgba="0 0 1 1" group="0"/>
        <geom type="sphere" size="0.04" pos="0 0 0.1" rgba="1 0 0 1" group="1"/>
        <geom type="mesh" mesh="tip" rgba="1 0 0 1" pos="0 0 0.1" group="1"/>
        <site name="gripper0_grip_site" pos="0 0 0.1" size="0.3" rgba="0 1 0 1"/>
        <site name="mark" pos="[0, 0, 0.1]" size="0.001" rgba="0 0 0 0"/>
        <camera name="robot0_eye_in_hand" pos="0.05 0 0" quat="0 0.707108 0.707108 0" fovy="75"/>
        <body><joint name="gripper0_finger_joint1" type="slide" range="0 0.04"/><geom size="0.01" group="1"/></body>
        <body><joint name="gripper0_finger_joint2" type="slide" range="-0.04 0"/><geom size="0.01" group="1"/></body>
      </body>
    </body>
  </worldbody>
</mujoco>
"""


def states(count: int, rate: float = 20.0) -> np.ndarray:
    """States [T, 11] of the robot: it goes along x and y, turns, and shuts its gripper."""
    rows = np.zeros((count, 11))
    way = np.linspace(0, 1, count)
    rows[:, 0] = 0.052 + np.arange(count) / rate
    rows[:, 1], rows[:, 2], rows[:, 3] = 0.3 * way, -0.1 * way, 0.5 * way
    rows[:, 4], rows[:, 5] = 0.04 * (1 - way), -0.04 * (1 - way)
    return rows


def write_demonstrations(file: Path, demos: dict[str, dict[str, np.ndarray]], model: str = MODEL, **about: str) -> None:
    """Write a file; `about` are the attributes of its group `data`. A model of one word is a file in `models/`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(file, "w") as opened:
        data = opened.create_group("data")
        data.attrs.update(about)
        for name, arrays in demos.items():
            group = data.create_group(name)
            group.attrs["model_file"] = model
            for key, values in arrays.items():
                group.create_dataset(key, data=values)


def write_assets(folder: Path) -> None:
    """The mesh of the model, in a place where later versions of its package keep it."""
    (folder / "moved").mkdir(parents=True)
    (folder / "moved" / "tip.obj").write_text(TIP)
