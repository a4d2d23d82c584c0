"""The pane of curves: its series, axes, cursor, legend and plot."""
