"""Checks the key words of a message, so that its wording can change."""


def says(message: str, expected: str) -> bool:
    """Return whether a message begins with the key, and has all parts, of `key | part | part`."""
    key, *parts = expected.split(" | ")
    return message.startswith(key) and all(part in message for part in parts)
