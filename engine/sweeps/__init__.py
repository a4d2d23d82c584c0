"""Stored sweeps: where they lie, how they are launched, and what is asked of them."""
