"""A sweep followed without a screen: log lines, live progress and the summary."""
