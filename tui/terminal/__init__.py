"""What the terminal receives apart from the screen: clipboard, title, files."""
