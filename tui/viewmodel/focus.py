"""Which configurations the viewer has hidden: a matter of the screen, never of the sweep."""

from collections.abc import Iterable
from dataclasses import dataclass

Entry = tuple[str, str]
"""A sweep and one of its configurations, by their ids; the board's own sweep has an empty id."""


@dataclass(frozen=True, slots=True)
class Focus:
    """The hidden configurations. Those that a sweep adds later are shown."""

    hidden: frozenset[Entry] = frozenset()

    def hides(self, name: str, sweep: str = "") -> bool:
        """Return whether a configuration is hidden."""
        return (sweep, name) in self.hidden

    def toggled(self, entry: Entry) -> "Focus":
        """Return the focus with one configuration hidden, or shown if it was hidden."""
        return Focus(self.hidden ^ {entry})

    def isolated(self, entry: Entry, among: Iterable[Entry]) -> "Focus":
        """Return the focus on a single configuration; if it is isolated already, all are shown."""
        others = frozenset(among) - {entry}
        return Focus() if others and others <= self.hidden else Focus(others)
