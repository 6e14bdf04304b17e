"""Measurements: `benchmarks` is the history kept by asv, `peers` and `store` print tables."""
