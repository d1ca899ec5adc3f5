"""Checkpoints of a run. Read `folder.py` first, which writes and finds them; `resume.py` goes on from one.

`manifest.py` tells a whole checkpoint from a damaged one, `unpickling.py` reads its files without running their code,
and `lock.py` keeps a second run out of the folder.
"""

from vgen import moved

__getattr__ = moved.names_in(__name__, "vgen.train.checkpoint.folder")
