"""The panes of the board, one a file."""
