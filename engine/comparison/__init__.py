"""Compares two sweeps."""
