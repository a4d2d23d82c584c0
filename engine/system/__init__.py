"""Helpers for files, the clock and child processes."""
