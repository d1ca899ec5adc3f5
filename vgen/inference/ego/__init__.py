"""Rollouts: from a question to a folder of results."""
