"""Programs that make LeRobot datasets out of simulators: `vgen record SIMULATOR`.

What all simulators share:

- `settings`: what to record, and the list of seeds that follows from it;
- `recording`: the dataset, made in several processes and resumed where it was broken off;
- `recorder`: what records one task, and what an episode must bring;
- `cameras`: the frames of simulated states, by MuJoCo;
- `looks` and `scenery`: other views, light and colours of the same scene;
- `counterfactual`: other ways the hand could have gone on from the middle of an episode;
- `paths`: smooth paths and noise for scripted hands.

`libero` stands apart: it makes demonstrations as LIBERO publishes them, for the source of that name.

Each simulator is a room of its own; `metaworld` is the one to read first. A new one needs three files:

1. `NAME/settings.py`: a subclass of `settings.Recording` that names its tasks, cameras and rate. It imports nothing of
   the simulator, so that `--help` works without it.
2. `NAME/environment.py`: `simulate` returns an episode with the simulator's state at every step (float64 [T, S], of
   `cameras.physics`), and `simulate_branches` a group of counterfactuals. It says which package to install.
3. `NAME/recorder.py`: a subclass of `recorder.TaskRecorder`, which names the columns and their trajectory layouts and
   turns a simulated episode into a `RecordedEpisode`, and a function `record(settings)`.

Where a simulator has several tasks whose policies are written here, each is a file of its own (`adroit/door.py`).

Then add it to SIMULATORS in `vgen/commands/record.py`, and its layout, where that is new, to `vgen.trajectory.layouts`.
"""

import os

os.environ.setdefault("MUJOCO_GL", "egl")  # draw without a screen; read by mujoco when it is imported
