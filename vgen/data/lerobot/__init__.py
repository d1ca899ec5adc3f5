"""LeRobot v3.0 folders. Read `dataset.py` first; `meta.py` and `rows.py` serve it, and `writer.py` writes a folder."""

from vgen import moved

__getattr__ = moved.names_in(__name__, "vgen.data.lerobot.dataset")
