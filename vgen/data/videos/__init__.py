"""A plain folder of videos. Read `captions.py` first: which files it holds, and the sentence of each."""
