"""Checks what a message has to name, so that its sentence can be reworded."""


def says(message: str, expected: str) -> bool:
    """Whether a message begins with a key and has each part of `key | part | part`."""
    key, *parts = expected.split(" | ")
    return message.startswith(key) and all(part in message for part in parts)
