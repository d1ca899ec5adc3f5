"""The parts of canvas_bench.py: clips, what is given in each task, scores, alignment and the report."""
