"""Videos, clips and episodes."""
