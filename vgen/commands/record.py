"""Record a LeRobot v3.0 data set: experts of Meta-World, a five-finger hand (Adroit), or pictures in motion.

    vgen record metaworld --out data/metaworld --workers 2
    vgen record metaworld --out data/two --tasks drawer-open-v3 reach-v3 --train-seeds 2 --test-seeds 1
    vgen record metaworld --out data/metaworld_cf --counterfactuals 4 --train-seeds 0 --test-seeds 1
    vgen record metaworld --out data/metaworld_varied --looks 1 --varied-seeds 1
    vgen record adroit --out data/adroit --workers 2
    vgen record adroit --out data/adroit_tasks --tasks door hammer pen --train-seeds 20
    vgen record adroit --out data/adroit_cf --counterfactuals 4 --train-seeds 0 --test-seeds 40
    vgen record pictures --photos data/photographs --out data/pictures --test-clips 48 --workers 2

Needs the extra "record" (`pip install "vgen[record]"`); draws without a screen (MUJOCO_GL=egl). A run that was broken
off goes on where it stopped when it is started again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib import import_module

from vgen.commands.options import make_parser
from vgen.errors import Parser
from vgen.simulators.adroit.settings import AdroitRecording
from vgen.simulators.metaworld.settings import MetaworldRecording
from vgen.simulators.pictures import settings as pictures
from vgen.simulators.settings import add_arguments

SIMULATORS = {"metaworld": MetaworldRecording, "adroit": AdroitRecording}
RECORDINGS = SIMULATORS | {"pictures": pictures.PicturesRecording}


def parser() -> Parser:
    """The options, of each simulator its own."""
    parser = make_parser("record", __doc__)
    choices = parser.add_subparsers(metavar="SIMULATOR", title="simulators", dest="simulator", required=True)
    for name, kind in SIMULATORS.items():
        tasks = f"{len(kind.all_tasks)} tasks" if len(kind.all_tasks) > 1 else f"the task {kind.all_tasks[0]}"
        add_arguments(choices.add_parser(name, help=tasks, allow_abbrev=False), kind)
    about = "photographs, objects and drawn textures under a moving camera"
    pictures.add_arguments(choices.add_parser("pictures", help=about, allow_abbrev=False))
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Records, as the options say."""
    options = vars(parser().parse_args(arguments))
    simulator = options.pop("simulator")
    settings = RECORDINGS[simulator](**options)
    # late, as an InputError says where its package is not installed
    recorder = import_module(f"vgen.simulators.{simulator}.recorder")

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    print(f"recorded {recorder.record(settings)}")
