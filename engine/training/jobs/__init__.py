"""The other jobs of a worker: time micro-batches and stacks, measure loss along lines."""
