"""Files that are whole or known not to be, here and elsewhere."""
