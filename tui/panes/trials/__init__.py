"""The pane of trials, and the story of one."""
