"""Record Meta-World's scripted experts as a LeRobot v3.0 dataset.

    python tools/record_metaworld.py --out data/metaworld --workers 2
    python tools/record_metaworld.py --out data/two --tasks drawer-open-v3 reach-v3 --train-seeds 2 --test-seeds 1
    python tools/record_metaworld.py --out data/metaworld_cf --counterfactuals 4 --train-seeds 0 --test-seeds 1

Needs `pip install metaworld`; draws without a screen (MUJOCO_GL=egl). A run that was broken off goes on where it
stopped when it is started again.
"""

import argparse
import logging

from vgen.errors import exit_on_input_error
from vgen.simulators.metaworld.settings import MetaworldRecording
from vgen.simulators.settings import add_arguments


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, MetaworldRecording)
    settings = MetaworldRecording(**vars(parser.parse_args()))

    from vgen.simulators.metaworld.recorder import record  # an InputError where metaworld is not installed

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    path = record(settings)
    print(f"recorded {path}")


if __name__ == "__main__":
    exit_on_input_error(main)
