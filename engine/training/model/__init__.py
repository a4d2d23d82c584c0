"""Networks with their weights in one buffer, and the passes through them."""
