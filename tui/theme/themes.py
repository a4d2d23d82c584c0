"""The themes: the styles of rows in each, for many colours and for sixteen.

`terminal` uses the terminal's background, light or dark; an empty cell then costs one byte on the
line. Its series are the colours of Okabe and Ito, adjusted to be readable on both. The other themes
have a background, on which every text has a contrast of at least 4.5 (WCAG 2 AA; 7 in `contrast`).
Their series were optimized for the largest minimum distance in OKLab with normal vision,
protanopia, deuteranopia and tritanopia (Machado et al. 2009).
"""

from dataclasses import dataclass

from batchscope.engine.errors import UsageProblem, nearest, printable

DEFAULT = "terminal"
Styles = dict[str, str]


@dataclass(frozen=True, slots=True)
class Theme:
    """A theme; `background` and `foreground` are empty if they are the terminal's."""

    name: str
    about: str
    styles: Styles
    series: tuple[str, ...]
    styles_16: Styles
    series_16: tuple[str, ...]
    background: str = ""
    foreground: str = ""
    dark: bool = True


SERIES_16 = ("cyan", "yellow", "green", "magenta", "red", "bright_blue", "bright_green", "white")
SERIES_16_ON_WHITE = ("blue", "red", "green", "magenta", "yellow", "cyan", "bright_black", "black")


def _styles(
    dim: str,
    frame: str,
    track: str,
    main: str,
    good: str,
    warn: str,
    bad: str,
    others: str,
    frame_on: str = "",
) -> Styles:
    """Return the styles that every theme has; `main` is the accent colour."""
    return {
        "dim": dim,
        "frame": frame,
        "frame.on": frame_on or main,
        "track": track,
        "accent": f"bold {main}",
        "title.on": f"bold {main}",
        "good": good,
        "warn": warn,
        "bad": bad,
        "ours": main,
        "others": others,
    }


_PLAIN = _styles(
    "bright_black", "bright_black", "bright_black", "cyan", "green", "yellow", "red", "yellow"
)
_PLAIN_ON_WHITE = _styles(
    "bright_black", "bright_black", "bright_black", "blue", "green", "magenta", "red", "magenta"
)

_ALL = (
    Theme(
        DEFAULT,
        "the terminal's own background and colours",
        _styles(
            "#808080", "#606060", "#5c5c5c", "#4fa3dc", "#1fa97e", "#e09a1a", "#e0603f", "#b08a50"
        ),
        ("#4fa3dc", "#e09a1a", "#1fa97e", "#cc79a7", "#d9583b", "#7d7ce0", "#a8a22c", "#8c8c8c"),
        _PLAIN,
        SERIES_16,
    ),
    Theme(
        "dark",
        "a dark background",
        _styles(
            "#959aa3", "#666b75", "#666b75", "#4db8e8", "#3fb68f", "#e5a84b", "#f07a4a", "#c9a26b"
        ),
        ("#29afca", "#cda57d", "#288f7b", "#f4c0f4", "#d45d0f", "#ac68f7", "#a4e148", "#f3f6f3"),
        _PLAIN,
        SERIES_16,
        background="#15171c",
        foreground="#e4e6ea",
    ),
    Theme(
        "light",
        "a light background",
        _styles(
            "#67686d", "#8a8b90", "#8a8b90", "#1560b8", "#127350", "#8f5a00", "#b3321b", "#8a5a20"
        ),
        ("#2566f8", "#ad5d28", "#127369", "#72215d", "#35060d", "#1a1493", "#414c18", "#3a2d2a"),
        _PLAIN_ON_WHITE,
        SERIES_16_ON_WHITE,
        background="#fbfaf6",
        foreground="#22242a",
        dark=False,
    ),
    Theme(
        "colour-blind",
        "dark, with colours that colour-blind people can distinguish best",
        _styles(
            "#969aa2", "#666b75", "#666b75", "#70d0ff", "#b0fffc", "#f6a82a", "#e07a3c", "#a6a3a5"
        ),
        ("#4090f6", "#f6a82a", "#b0fffc", "#9b6e9f", "#ce6829", "#70d0ff", "#fce291", "#a6a3a5"),
        _PLAIN,
        SERIES_16,
        background="#101216",
        foreground="#e8eaee",
    ),
    Theme(
        "contrast",
        "black, with a text contrast of 7 or more",
        _styles(
            "#b8b8b8", "#909090", "#909090", "#75ddfe", "#9cf5d0", "#ffc04d", "#ff8f66", "#eac69a"
        ),
        ("#75ddfe", "#eac69a", "#2fb372", "#e092bd", "#f37d01", "#a882e8", "#b0ef1a", "#fbfbfb"),
        _PLAIN,
        SERIES_16,
        background="#000000",
        foreground="#ffffff",
    ),
)
THEMES = {theme.name: theme for theme in _ALL}


def check_theme(name: str) -> str:
    """Return the name if it is a theme.

    Raises:
        UsageProblem: there is no such theme; the message names the nearest one.
    """
    if name not in THEMES:
        raise UsageProblem(f"no theme {printable(name)!r}{nearest(name, THEMES)}")
    return name


def next_theme(name: str) -> str:
    """Return the theme after this one; after the last, the first."""
    names = list(THEMES)
    return names[(names.index(name) + 1) % len(names)]
