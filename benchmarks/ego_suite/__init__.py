"""The parts of ego_bench.py: bodies, cases, rollouts, the sections, contact sheets and the report."""
