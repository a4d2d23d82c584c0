"""How the grid shares out its rows: a pure function, so that sizes are easy to reason about."""

from dataclasses import dataclass

FRAME = 2
GRID_COLUMNS, GRID_ROWS = 120, 26
FINDINGS_LEAST = 5
SPACIOUS = 36


@dataclass(frozen=True, slots=True)
class Wants:
    """Rows that the contents would fill; of the gradients also as many as make reading easy."""

    gradients: int
    gradients_apart: int
    bars: int
    trials: int
    memory: int
    findings: int


@dataclass(frozen=True, slots=True)
class Heights:
    """Rows, with their frames, of what does not simply take the rest."""

    lower: int
    gradients: int
    memory: int
    findings: int


def fits_grid(width: int, height: int) -> bool:
    """Whether all panes at once can be read at this size."""
    return width >= GRID_COLUMNS and height >= GRID_ROWS


def heights(available: int, wants: Wants) -> Heights:
    """The curves take the rest on the left, the log on the right.

    The gradients have all the rows they can use where the least of the others leaves room for
    it; the findings take what they need of the remainder, the log has a ninth at least.
    """
    lower = max(wants.bars, min(wants.trials, available * 2 // 5)) + FRAME
    lower = max(6, min(lower, available * 9 // 20))
    most = available * 9 // 25 if available >= SPACIOUS else available // 4
    memory = max(4, min(wants.memory + FRAME, most))
    log = available // 9 + FRAME
    room = available - memory - log
    least = min(wants.findings, FINDINGS_LEAST) + FRAME
    apart, together = wants.gradients_apart + FRAME, wants.gradients + FRAME
    gradients = apart if apart <= room - least else min(together, room - least)
    gradients = max(4, gradients)
    findings = max(3, min(wants.findings + FRAME, room - gradients))
    return Heights(lower, gradients, memory, findings)
