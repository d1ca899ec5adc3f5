"""Record Meta-World's scripted experts as a LeRobot v3.0 dataset.

    python tools/record_metaworld.py --out data/metaworld --workers 2
    python tools/record_metaworld.py --out data/two --tasks drawer-open-v3 reach-v3 --train-seeds 2 --test-seeds 1

Needs `pip install metaworld`; draws without a screen (MUJOCO_GL=egl). A run that was broken off goes on where it
stopped when it is started again.
"""

import argparse
import logging
from pathlib import Path

from vgen.data.recorders.metaworld_plan import CAMERAS, Recording
from vgen.data.recorders.metaworld_tasks import SENTENCES
from vgen.errors import exit_on_input_error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="dataset folder to make")
    parser.add_argument("--tasks", nargs="+", default=list(SENTENCES), metavar="TASK", help="default: all 50")
    parser.add_argument("--train-seeds", type=int, default=20, metavar="N", help="training episodes per task")
    parser.add_argument("--test-seeds", type=int, default=2, metavar="N", help="test episodes per training task")
    parser.add_argument("--unseen-seeds", type=int, default=8, metavar="N", help="episodes per task kept from training")
    parser.add_argument("--size", type=int, default=128, help="height and width of the frames in pixels")
    parser.add_argument("--cameras", nargs="+", default=list(CAMERAS), metavar="CAMERA", help=", ".join(CAMERAS))
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="recording processes: one per core")
    parser.add_argument("--max-steps", type=int, default=150, metavar="N", help="longest episode, at 80 steps/s")
    recording = Recording(**vars(parser.parse_args()))

    from vgen.data.recorders.metaworld import record  # an InputError where metaworld is not installed

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    path = record(recording)
    print(f"recorded {path}")


if __name__ == "__main__":
    exit_on_input_error(main)
