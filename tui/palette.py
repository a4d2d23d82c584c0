"""The styles that rows name, for terminals of many colours and of sixteen.

The background is always the terminal's own, so that the board is at home in a light terminal
and in a dark one, and an empty cell costs a byte over the line. The colours of the series are
Okabe and Ito's, which most colour-blind people can tell apart, shifted to be read on both.
"""

from functools import cache

from rich.style import Style

SERIES = ("#4fa3dc", "#e09a1a", "#1fa97e", "#cc79a7", "#d9583b", "#7d7ce0", "#a8a22c", "#8c8c8c")
SERIES_16 = ("cyan", "yellow", "green", "magenta", "red", "bright_blue", "bright_green", "white")

_RICH = {
    "dim": "#808080",
    "frame": "#606060",
    "frame.on": "#4fa3dc",
    "track": "#5c5c5c",
    "accent": "bold #4fa3dc",
    "good": "#1fa97e",
    "warn": "#e09a1a",
    "bad": "#e0603f",
    "ours": "#4fa3dc",
    "others": "#b08a50",
}
_PLAIN = {
    "dim": "bright_black",
    "frame": "bright_black",
    "frame.on": "cyan",
    "track": "bright_black",
    "accent": "bold cyan",
    "good": "green",
    "warn": "yellow",
    "bad": "red",
    "ours": "cyan",
    "others": "yellow",
}
_ALWAYS = {"strong": "bold", "key": "bold", "title": "bold", "chosen": "reverse"}


@cache
def style_of(key: str, sixteen: bool) -> Style:
    """The style that a key stands for; `s3` is the fourth series, `s3-` its fainter twin."""
    if key in _ALWAYS:
        return Style.parse(_ALWAYS[key])
    if key[:1] == "s" and key[1:].rstrip("-").isdigit():
        return _series(int(key[1:].rstrip("-")), key.endswith("-"), sixteen)
    known = _PLAIN if sixteen else _RICH
    return Style.parse(known[key]) if key in known else Style.null()


def _series(index: int, faint: bool, sixteen: bool) -> Style:
    if sixteen:
        return Style(color=SERIES_16[index % len(SERIES_16)], dim=faint)
    colour = SERIES[index % len(SERIES)]
    return Style(color=_fainter(colour) if faint else colour)


def _fainter(colour: str) -> str:
    """Halfway to a grey that stands back on a dark and on a light background."""
    parts = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{(part + 0x6C) // 2:02x}" for part in parts)
