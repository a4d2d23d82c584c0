"""Shortens the names of layers, which are dotted names of modules in a network of one's own."""

from collections import Counter
from collections.abc import Sequence


def short_names(names: Sequence[str], room: int) -> dict[str, str]:
    """Return names of modules in so many cells, each as whole as it fits.

    Parts before the last are cut to their first letter, from the left, as `e.l.0.self_attn.norm`:
    the numbers and the ends of names are what distinguishes layers. Names that would look alike
    then keep their ends.
    """
    short = {name: _abbreviated(name, room) for name in names}
    used = Counter(short.values())
    return {
        name: text if used[text] == 1 or len(name) <= room else _ending(name, room)
        for name, text in short.items()
    }


def _abbreviated(name: str, room: int) -> str:
    parts = name.split(".")
    for at, part in enumerate(parts[:-1]):
        if len(".".join(parts)) <= room:
            break
        parts[at] = part if part.isdigit() else part[:1]
    return _ending(".".join(parts), room)


def _ending(name: str, room: int) -> str:
    return name if len(name) <= room else f"…{name[len(name) - room + 1 :]}"
