"""robosuite's own human demonstrations: they come in its wheels, as states, and are replayed and drawn.

The columns are those of `vgen.sources.reading.demonstrations`. Tasks of which lifting or a handover is all are for
evaluation alone: their split is `unseen`. robosuite has no annotations; the sentences are made from its description
of each task.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vgen.sources.reading.demonstrations import Demonstrations, Place
from vgen.sources.source import LeftOut, Take

logger = logging.getLogger(__name__)

SENTENCES = {
    "Door": "turn the handle and open the door",
    "Lift": "lift the cube",
    "NutAssembly": "fit the square nut onto the square peg and the round nut onto the round peg",
    "PegInHole": "put the peg into the hole in the board",
    "PickPlace": "put the milk, the bread, the cereal and the can into their bins",
    "Stack": "stack the red cube on the green cube",
    "TwoArmHandover": "hand the hammer over from one arm to the other",
    "TwoArmLift": "lift the pot by both handles",
    "TwoArmPegInHole": "put the peg into the hole in the board",
    "Wipe": "wipe the dirt off the table",
}
"""What is done in each task."""
EVALUATED = ("Lift", "Handover")
ROBOTS = ("Sawyer", "Baxter")  # which the names of tasks began with before robosuite 1.0


class RobosuiteSource(Demonstrations):
    """Demonstrations in a folder of robosuite's wheels, unpacked; each arm of two is a take of its own."""

    packages = ("robosuite",)
    robot_type = "robosuite"

    def takes(self) -> Sequence[Take]:
        """All takes; a demonstration that came with several versions of robosuite is taken once."""
        kept: dict[tuple[str, str, int], Take] = {}
        takes = super().takes()
        for take in takes:
            assert isinstance(take.place, Place), "as they are made above"
            kept.setdefault((take.group, take.place.demo, take.place.arm), take)
        if len(kept) < len(takes):
            logger.warning("%d demonstrations came with several versions; they are taken once", len(takes) - len(kept))
        return list(kept.values())

    def _group(self, file: Path, attributes: Mapping[str, Any]) -> str:
        """The session: demonstrations that were gathered together."""
        session = [str(attributes[key]) for key in ("date", "time", "timestamp") if key in attributes]
        return " ".join([str(attributes["env"]), *session]) if session else str(file.relative_to(self.folder))

    def _sentence(self, attributes: Mapping[str, Any]) -> str:
        return SENTENCES.get(_name(attributes), "")

    def _task(self, file: Path, attributes: Mapping[str, Any]) -> tuple[str, bool]:
        if "env" not in attributes:
            raise LeftOut("its file does not say of which task it is: no attribute 'env'")
        return str(attributes["env"]), _name(attributes).endswith(EVALUATED)


def _name(attributes: Mapping[str, Any]) -> str:
    name = str(attributes["env"])
    for robot in ROBOTS:
        name = name.removeprefix(robot)
    return name
