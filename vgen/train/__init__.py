"""Training: one loop, and objectives that own their inputs and losses."""
