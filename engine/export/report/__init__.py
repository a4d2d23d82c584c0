"""The report of an export: its content and its page."""
