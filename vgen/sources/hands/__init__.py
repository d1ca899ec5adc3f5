"""Hands in a video, tracked. Read `tracking.py` first: what a detector sees, frame by frame, becomes two hands that
keep their sides, stand in the camera's frame and move smoothly."""
