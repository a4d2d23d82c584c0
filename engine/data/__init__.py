"""Data sets: fetched once into arrays that every worker maps."""
