"""Chooses micro-batch size, stacks, number of workers and order of trials, by pure functions."""
