"""Files, clock and child processes."""
