"""The pane of gradients: norms, values and competition."""
