"""Completes all cases of a canvas bench, each once, and keeps what came out."""
