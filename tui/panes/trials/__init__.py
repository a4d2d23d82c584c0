"""The pane of trials, and the details of one."""
