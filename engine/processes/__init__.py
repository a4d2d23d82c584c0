"""Worker processes: the orders to them and the connections that carry orders and events."""
