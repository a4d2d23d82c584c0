"""Braille rows read back."""

from batchscope.tui.render.braille import BRAILLE, DOTS, Grid
from batchscope.tui.render.styled_text import text_of


def dots_of(grid: Grid) -> set[tuple[int, int]]:
    """The dots that a grid's braille shows."""
    lit = set()
    for down, line in enumerate(grid.lines()):
        for column, character in enumerate(text_of(line)):
            mask = 0 if character == " " else ord(character) - BRAILLE
            for dx in (0, 1):
                for dy in range(4):
                    if mask & DOTS[dx][dy]:
                        lit.add((column * 2 + dx, down * 4 + dy))
    return lit
