"""Decides how many rows each tile of the board gets."""

from collections.abc import Mapping
from dataclasses import dataclass

from batchscope.tui.config.panes import Tile

FRAME = 2
GRID_COLUMNS, GRID_ROWS = 120, 26
FINDINGS_LEAST = 5
SPACIOUS = 36
RIGHT: tuple[Tile, ...] = ("right 1", "right 2", "right 3", "right 4")
"""The tiles of the right column from top to bottom: gradients, memory, findings, log."""


@dataclass(frozen=True, slots=True)
class Heights:
    """Rows, including frames, of the lower tiles and the right column; None takes the rest."""

    lower: int
    right: dict[Tile, int | None]


def fits_grid(width: int, height: int) -> bool:
    """Return whether a terminal is large enough to show all tiles."""
    return width >= GRID_COLUMNS and height >= GRID_ROWS


def heights(available: int, wanted: Mapping[Tile, int], roomy_gradients: int) -> Heights:
    """Divide the rows among the tiles. The curves take the rest on the left, the log on the right.

    The gradients get all the rows they can use if the least of the others leaves room for them,
    the findings what they need of the remainder, and the log at least a ninth.

    Args:
        available: rows of the screen without the lines around the panes.
        wanted: rows that the content of each tile would fill.
        roomy_gradients: rows in which the gradients are easiest to read.
    """
    lower = max(wanted["lower left"], min(wanted["lower right"], available * 2 // 5)) + FRAME
    lower = max(6, min(lower, available * 9 // 20))
    most = available * 9 // 25 if available >= SPACIOUS else available // 4
    memory = max(4, min(wanted["right 2"] + FRAME, most))
    log = available // 9 + FRAME
    room = available - memory - log
    least = min(wanted["right 3"], FINDINGS_LEAST) + FRAME
    apart, together = roomy_gradients + FRAME, wanted["right 1"] + FRAME
    gradients = apart if apart <= room - least else min(together, room - least)
    gradients = max(4, gradients)
    findings = max(3, min(wanted["right 3"] + FRAME, room - gradients))
    right: dict[Tile, int | None] = dict(
        zip(RIGHT, (gradients, memory, findings, None), strict=True)
    )
    return Heights(lower, right)
