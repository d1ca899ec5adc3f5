import sys
from pathlib import Path

# A benchmark finds its parts beside it, as any script does; so do its tests.
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "benchmarks")]
