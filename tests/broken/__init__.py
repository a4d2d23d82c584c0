"""Tasks that are broken, or look as if they were; run for real by unit and functional tests."""
