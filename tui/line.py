"""The line to the terminal: whether it takes more now, or is still busy with what it was sent."""

import select
import sys


def takes_more(descriptor: int | None = None) -> bool:
    """Whether a write would go out at once; by default to where Textual draws, standard error."""
    try:
        if descriptor is None:
            descriptor = sys.__stderr__.fileno() if sys.__stderr__ else -1
        return bool(select.select([], [descriptor], [], 0)[1])
    except (OSError, ValueError):  # none at all: nobody waits for it
        return True
