"""Stored sweeps: where they are kept, how they are started, and the commands sent to them."""
