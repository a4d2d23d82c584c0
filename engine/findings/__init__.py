"""Draws conclusions from a sweep: verdicts on claims, means, a recommendation."""
