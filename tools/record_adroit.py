"""Record a scripted five-finger hand (Adroit) as a LeRobot v3.0 dataset.

    python tools/record_adroit.py --out data/adroit --workers 2
    python tools/record_adroit.py --out data/adroit_cf --counterfactuals 4 --train-seeds 0 --test-seeds 40

Needs `pip install gymnasium-robotics==1.4.2 mujoco==3.3.0`; draws without a screen (MUJOCO_GL=egl). A run that was
broken off goes on where it stopped when it is started again.
"""

import argparse
import logging

from vgen.errors import exit_on_input_error
from vgen.simulators.adroit.settings import AdroitRecording
from vgen.simulators.settings import add_arguments


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, AdroitRecording)
    settings = AdroitRecording(**vars(parser.parse_args()))

    from vgen.simulators.adroit.recorder import record  # an InputError where gymnasium-robotics is not installed

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    path = record(settings)
    print(f"recorded {path}")


if __name__ == "__main__":
    exit_on_input_error(main)
