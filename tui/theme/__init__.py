"""The colours of each theme."""
