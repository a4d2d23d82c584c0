"""The journal: events, their file, and the state that results from them."""
