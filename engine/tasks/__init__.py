"""Finds a person's task, its arguments and the digests of its code, without torch."""
