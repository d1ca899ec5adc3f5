"""Data sets as one small folder that is carried to another machine: `packing.py` makes it, `unpacking.py` undoes it."""

MAX_MB = 45.0  # megabytes of a pack, by default
CRF = 30  # x264's quality of its videos, by default
