"""What `long_bench.py` measures of videos longer than one pass."""
