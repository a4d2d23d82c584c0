"""One trial over several workers: the leader and its gradient servers."""
