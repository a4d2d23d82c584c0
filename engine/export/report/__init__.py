"""The report of an export: what it says, and the page that says it."""
