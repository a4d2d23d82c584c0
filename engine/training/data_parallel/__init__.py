"""Data-parallel training: one trial on several workers."""
