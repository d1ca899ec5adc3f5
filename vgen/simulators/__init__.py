"""Recorders: programs that make LeRobot datasets out of simulators."""

import os

os.environ.setdefault("MUJOCO_GL", "egl")  # draw without a screen; read by mujoco when it is imported
