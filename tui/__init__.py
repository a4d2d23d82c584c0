"""The terminal face of batchscope: a viewer that may come and go."""
