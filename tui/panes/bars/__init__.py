"""The pane of bars, and the curves that stand in their place."""
