"""The styles of rows, by theme and by the number of colours of the terminal.

Without colours, bold, dim and reverse remain; markers, signs and words carry the meaning.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

from rich.style import Style

from batchscope.tui.theme.contrast import contrast, mixed, parts
from batchscope.tui.theme.themes import DEFAULT, THEMES, Theme

Depth = Literal["many", "sixteen", "none"]
FAINT_LEAST = 3.0
"""The contrast that WCAG 2 requires for graphics; the fainter variant of a colour keeps it."""
BETWEEN = "#6c6c6c"
"""A grey that is unobtrusive on dark and on light backgrounds."""

_ALWAYS = {"strong": "bold", "key": "bold", "title": "bold", "chosen": "reverse"}
_COLOURLESS = {
    "dim": "dim",
    "frame": "dim",
    "frame.on": "bold",
    "track": "dim",
    "accent": "bold",
    "title.on": "bold reverse",
    "warn": "bold",
    "bad": "bold",
    "ours": "bold",
}


@dataclass(frozen=True, slots=True)
class Appearance:
    """How the screen is drawn: theme, number of colours, and whether with ASCII only."""

    theme: str = DEFAULT
    depth: Depth = "many"
    ascii: bool = False


BARE = Appearance()


@cache
def style_of(key: str, theme: str = DEFAULT, depth: Depth = "many") -> Style:
    """Return the style of a key; `s3` is the fourth series, `s3-` its fainter variant."""
    if key in _ALWAYS:
        return Style.parse(_ALWAYS[key])
    series = key[:1] == "s" and key[1:].rstrip("-").isdigit()
    if depth == "none":
        return Style(dim=True) if series and key.endswith("-") else Style.parse(_colourless(key))
    if series:
        return _series(int(key[1:].rstrip("-")), key.endswith("-"), THEMES[theme], depth)
    known = THEMES[theme].styles_16 if depth == "sixteen" else THEMES[theme].styles
    return Style.parse(known[key]) if key in known else Style.null()


def _colourless(key: str) -> str:
    return _COLOURLESS.get(key, "")


def _series(index: int, faint: bool, theme: Theme, depth: Depth) -> Style:
    if depth == "sixteen":
        return Style(color=theme.series_16[index % len(theme.series_16)], dim=faint)
    colour = theme.series[index % len(theme.series)]
    return Style(color=fainter(colour, theme.background) if faint else colour)


def fainter(colour: str, background: str) -> str:
    """Return the colour halfway to the background, or as close to it as stays visible."""
    if not background:
        pairs = zip(parts(colour), parts(BETWEEN), strict=True)
        return "#" + "".join(f"{(a + b) // 2:02x}" for a, b in pairs)
    steps = (mixed(colour, background, tenths / 10) for tenths in range(5, 10))
    return next((one for one in steps if contrast(one, background) >= FAINT_LEAST), colour)
