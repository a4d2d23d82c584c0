"""What a worker does beside training: timing micro-batches and stacks, drawing lines."""
