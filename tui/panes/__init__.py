"""The panes of the board."""
