"""One marker and one colour for each configuration or group of rivals, the same in every pane.

Ten markers and eight colours: forty configurations differ in the pair, and wherever a marker
stands, its label stands too.
"""

import string
from dataclasses import dataclass

from batchscope.engine.errors import printable
from batchscope.engine.spec import Configuration
from batchscope.tui.render.styled_text import Row, cell, row

GLYPHS = "●▲■◆▼○△□◇▽"
LETTERS = string.ascii_uppercase
"""The markers where there is nothing but ASCII."""
COLOURS = 8


@dataclass(frozen=True, slots=True)
class Mark:
    """How a configuration is told apart: glyph, style and short label."""

    glyph: str
    style: str
    label: str

    def head(self, width: int) -> Row:
        """Marker and label as the first columns of a table; numbers are aligned as numbers."""
        named = cell(self.label, width, right=self.label.replace(",", "").isdigit())
        return row((self.glyph, self.style), " ", named, " ")

    @property
    def faint(self) -> str:
        """The style of what stands behind: the train curve, the early histogram."""
        return self.style + "-"


def marks_for(configurations: list[Configuration], glyphs: str = GLYPHS) -> dict[str, Mark]:
    """A mark for each configuration, in the order that they are given.

    Candidates of one group share theirs: of each group one is looked at once it is chosen, and the
    groups must be told apart.
    """
    groups: dict[str, int] = {}
    marks = {}
    for each in configurations:
        index = groups.setdefault(f"group {each.rivals}" if each.rivals else each.id, len(groups))
        glyph, style = glyphs[index % len(glyphs)], f"s{index % COLOURS}"
        marks[each.id] = Mark(glyph, style, printable(each.label))
    return marks
