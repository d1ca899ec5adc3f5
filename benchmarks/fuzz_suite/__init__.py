"""Damaged inputs for the commands: valid files, what is done to them, traps, and a child process for each."""
