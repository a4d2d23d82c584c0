"""Checkpoint files, on this machine and elsewhere; a damaged file is always detected."""
