"""Benchmarks: `python -m benchmarks` compares the guarded client with the vendor's, in one run."""
