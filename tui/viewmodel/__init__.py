"""What panes draw from."""
