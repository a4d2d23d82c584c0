"""Numbers read off the state of a sweep."""
