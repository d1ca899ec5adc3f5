"""The checks of gpu_check.py, each in a process of its own."""
