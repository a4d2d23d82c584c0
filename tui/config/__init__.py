"""The settings file, the panes, and the commands with their keys."""
