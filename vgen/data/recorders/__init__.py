"""Recorders: programs that make LeRobot datasets out of simulators."""
