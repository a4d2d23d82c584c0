"""Workers on the nodes of a Ray cluster; nothing of Ray is imported where no sweep asks for it."""
