"""What a person sets once: settings, commands and their keys."""
