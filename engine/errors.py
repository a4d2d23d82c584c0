"""The errors that a user can cause or meet, each with the exit code of the program."""

import difflib
from collections.abc import Iterable


class Problem(Exception):
    """An error that is printed as one message, without a traceback."""

    exit_code = 1


class UsageProblem(Problem):
    """Wrong usage of the command line, or a wrong preset."""

    exit_code = 2


class MachineProblem(Problem):
    """The machine lacks something: data, a device, disk space or permissions."""

    exit_code = 3


def similar(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest known name; empty if none is near."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest known name; a list of all if none is near."""
    names = list(known)
    return similar(word, names) or (f"; known: {', '.join(names)}" if names else "")


def shown(value: object, most: int = 60) -> str:
    """Quote a value for a message: printable, and at most `most` characters."""
    try:
        text = printable(repr(value))
    except (ValueError, RecursionError):  # an integer of thousands of digits, or deep nesting
        text = f"a value too large to show ({type(value).__name__})"
    except Exception:  # the class of a person, whose own `__repr__` fails
        text = f"a value that cannot be shown ({type(value).__name__})"
    return text if len(text) <= most else text[: most - 3] + "..."


def words_of(error: BaseException) -> str:
    """Return the text of an error; empty if it has none, as where a person's `__str__` fails."""
    try:
        return str(error)
    except BaseException:  # it may even exit
        return ""


def printable(text: object) -> str:
    """Replace control characters in a text, so that none can control a terminal."""
    return "".join(c if c.isprintable() else "�" for c in str(text))
