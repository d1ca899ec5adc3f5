"""What the benchmarks of both front-ends share: episodes that take turns, records of a run, and how numbers are laid
out."""
