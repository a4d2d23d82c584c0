"""Pure choices: micro-batch, stacks, workers, order."""
