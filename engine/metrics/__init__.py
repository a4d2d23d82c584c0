"""Definitions that the trainer and the readers of a journal share."""
