"""Trains replicates from their first step to their last."""
