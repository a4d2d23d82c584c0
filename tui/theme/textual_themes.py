"""Our themes as Textual themes, for its own widgets: dialogs, scroll bars, the palette."""

from textual.app import App
from textual.theme import Theme as TextualTheme

from batchscope.tui.theme.themes import DEFAULT, THEMES, Theme

OWN = "ansi-dark"  # the terminal's own colours and background, light or dark


def register(app: App[str]) -> None:
    """Register the themes that have their own background with an app."""
    for theme in THEMES.values():
        if theme.name != DEFAULT:
            app.register_theme(_as_textual(theme))


def wear(app: App[str], name: str) -> None:
    """Switch Textual's own widgets to one of our themes."""
    app.ansi_color = name == DEFAULT
    app.theme = OWN if name == DEFAULT else _named(name)


def _named(name: str) -> str:
    return f"batchscope-{name}"


def _as_textual(theme: Theme) -> TextualTheme:
    main = theme.styles["ours"]
    return TextualTheme(
        name=_named(theme.name),
        primary=main,
        secondary=theme.styles["frame.on"],
        accent=main,
        success=theme.styles["good"],
        warning=theme.styles["warn"],
        error=theme.styles["bad"],
        foreground=theme.foreground,
        background=theme.background,
        surface=theme.background,
        panel=theme.background,
        dark=theme.dark,
    )
