"""Rollouts: from what is asked to a folder of results."""
