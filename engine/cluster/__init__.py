"""Workers on the nodes of a Ray cluster. Ray is imported only if a sweep uses it."""
