"""What is measured of gradients, weights and loss while a network trains."""
