"""Pure drawing: text, numbers and series as rows of styled cells."""
