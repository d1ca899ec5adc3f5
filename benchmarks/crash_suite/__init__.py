"""What `benchmarks/crash_test.py` is made of."""
