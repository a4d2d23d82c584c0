"""The mistakes that a person can make or meet, each with the exit code it ends in."""

import difflib
from collections.abc import Iterable


class Problem(Exception):
    """One clear message for the person, without a traceback."""

    exit_code = 1


class UsageProblem(Problem):
    """Wrong usage, or a preset that says something impossible."""

    exit_code = 2


class MachineProblem(Problem):
    """The machine lacks something: data, a device, room or rights on the disk."""

    exit_code = 3


def similar(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest known name, or nothing where none is near."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest known name, or the list of all where none is near."""
    names = list(known)
    return similar(word, names) or (f"; known: {', '.join(names)}" if names else "")


def shown(value: object, most: int = 60) -> str:
    """A value as a message quotes it: short, and printable whatever it is."""
    try:
        text = printable(repr(value))
    except (ValueError, RecursionError):  # an integer of thousands of digits, endless nesting
        text = f"a value too large to show ({type(value).__name__})"
    return text if len(text) <= most else text[: most - 3] + "..."


def printable(text: object) -> str:
    """The text without control characters, so that none can steer a terminal."""
    return "".join(c if c.isprintable() else "�" for c in str(text))
