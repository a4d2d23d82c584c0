"""Follows a sweep without a screen: log lines, live progress and the summary."""
