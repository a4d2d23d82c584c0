"""What a person takes away: tables and documents of a sweep, written whole or not at all."""
