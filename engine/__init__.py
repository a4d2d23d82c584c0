"""The engine of batchscope: it trains, records and concludes, and knows nothing of screens."""
