"""The bars pane, and the curves that it draws for some metrics."""
