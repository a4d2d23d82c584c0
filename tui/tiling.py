"""How the grid shares out its rows: a pure function, so that sizes are easy to reason about."""

from dataclasses import dataclass

FRAME = 2
GRID_COLUMNS, GRID_ROWS = 120, 26
LOG_LEAST = 5


@dataclass(frozen=True, slots=True)
class Wants:
    """Rows that the contents would fill."""

    configurations: int
    time: int
    trials: int
    memory: int


@dataclass(frozen=True, slots=True)
class Heights:
    """Rows, with their frames, of what does not simply take the rest."""

    lower: int
    gradients: int
    memory: int


def fits_grid(width: int, height: int) -> bool:
    """Whether all panes at once can be read at this size."""
    return width >= GRID_COLUMNS and height >= GRID_ROWS


def heights(available: int, wants: Wants) -> Heights:
    """Accuracy takes the rest on the left, the log on the right."""
    lower = max(wants.time, min(wants.trials, available * 2 // 5)) + FRAME
    lower = max(6, min(lower, available * 9 // 20))
    memory = max(4, min(wants.memory + FRAME, available * 9 // 25))
    room = available - memory - LOG_LEAST - FRAME
    apart = 3 * wants.configurations + 1 + FRAME
    together = wants.configurations + 1 + FRAME
    gradients = apart if apart <= room else min(together, room)
    return Heights(lower, max(4, gradients), memory)
