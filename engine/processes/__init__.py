"""Worker processes: orders, and the links that carry them."""
