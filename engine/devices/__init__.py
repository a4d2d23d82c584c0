"""Describes the hardware of this machine, without importing torch."""
