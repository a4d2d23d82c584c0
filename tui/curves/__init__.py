"""What the pane of curves is made of: lens, sources, axes, legend and picture."""
