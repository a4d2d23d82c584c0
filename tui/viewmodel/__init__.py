"""The data that panes draw."""
