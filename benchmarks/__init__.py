"""Benchmarks of the layers: `python -m benchmarks run`."""
