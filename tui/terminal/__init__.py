"""What a terminal is told beside what is drawn."""
