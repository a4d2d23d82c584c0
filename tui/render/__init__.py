"""Draws text, numbers and series as rows of styled cells, without Textual."""
