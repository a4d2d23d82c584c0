"""Measurements of gradients, weights and loss during a training."""
