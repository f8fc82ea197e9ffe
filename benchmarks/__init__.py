"""Microbenchmarks of the layers and what can be known of the kernels with no GPU: `python -m benchmarks --help`."""
