"""Simulated sweeps with a known truth: how often a verdict on them is false, and how often found.

`benchmarks/verdicts.py` runs all of them in full, the tests a few in small.
"""
