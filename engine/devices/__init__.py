"""What the machine is, seen without torch."""
