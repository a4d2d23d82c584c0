"""The networks without torch: one module a family, its layers as values, and what they cost."""
