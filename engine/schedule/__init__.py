"""Batch size and learning rate at every step, and what a budget buys."""
