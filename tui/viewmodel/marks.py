"""Assigns a marker and a colour to each configuration or group of candidates, for all panes.

With ten markers and eight colours, forty configurations have different pairs. Panes always show a
marker together with its label.
"""

import string
from dataclasses import dataclass, replace

from batchscope.engine.errors import printable
from batchscope.engine.spec import Configuration
from batchscope.tui.render.styled_text import Row, cell, row

GLYPHS = "●▲■◆▼○△□◇▽"
LETTERS = string.ascii_uppercase
"""The markers for ASCII only."""
HIDDEN = "·"
"""The marker of a configuration that the viewer has hidden."""
COLOURS = 8


@dataclass(frozen=True, slots=True)
class Mark:
    """How a configuration is marked: glyph, style and short label."""

    glyph: str
    style: str
    label: str

    def head(self, width: int) -> Row:
        """Return marker and label as the first columns of a table; numbers align to the right."""
        named = cell(self.label, width, right=self.label.replace(",", "").isdigit())
        return row((self.glyph, self.style), " ", named, " ")

    @property
    def off(self) -> "Mark":
        """The mark while the configuration is hidden."""
        return replace(self, glyph=HIDDEN, style="dim")

    @property
    def faint(self) -> str:
        """The style of what is drawn behind: the train curve, the early histogram."""
        return self.style + "-"


def marks_for(configurations: list[Configuration], glyphs: str = GLYPHS) -> dict[str, Mark]:
    """Return a mark for each configuration, in the given order.

    Candidates of one group share a mark, also with the fresh seeds of the chosen one: only one of
    each group matters in the end, and marks should distinguish the groups.
    """
    groups: dict[str, int] = {}
    by_id = {each.id: each for each in configurations}
    marks = {}
    for each in configurations:
        of = by_id.get(each.confirms, each)
        index = groups.setdefault(f"group {of.rivals}" if of.rivals else of.id, len(groups))
        glyph, style = glyphs[index % len(glyphs)], f"s{index % COLOURS}"
        marks[each.id] = Mark(glyph, style, printable(each.label))
    return marks
