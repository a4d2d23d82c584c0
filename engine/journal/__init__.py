"""Every fact that a run states: events, their file, and the state that is folded from them."""
