"""The end of work that the conductor asked for."""

from collections.abc import Callable

Asked = Callable[[], bool]


class Halted(Exception):
    """The conductor asked for the end of what a worker does."""


def raise_if(asked: Asked) -> None:
    """Give the work up where the conductor has asked for it.

    Raises:
        Halted: it has.
    """
    if asked():
        raise Halted


def never() -> bool:
    """Nobody asks."""
    return False


class Dropped(Exception):
    """A member is to end while it is probed; the others go on."""
