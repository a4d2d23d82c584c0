"""Training: the one part of the engine that imports torch."""
