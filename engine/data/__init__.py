"""Data sets: downloaded once and prepared as arrays that every worker maps into memory."""
