"""Data sets as one small folder that is carried to another machine: `packing.py` makes it, `unpacking.py` undoes it."""
