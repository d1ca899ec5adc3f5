"""The ego front-end: what the camera wearer sees, a sentence and a trajectory make the video that follows.

Read `world` first (what users call), then along the walk of an action into a frame: `actions` (trajectories become
normalised, timed tensors), `fusion` (actions read frames and text), `injection` (they enter the video tokens; how to
add a way of one's own), `adapter` (both on a backbone), `pipeline` (denoising) and `rollout` (on and on).
"""
