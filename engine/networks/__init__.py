"""Facts about the networks, without torch: shapes, limits, cost."""
