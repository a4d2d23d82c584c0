"""Computes batch size and learning rate at every step, and the steps of a budget."""
