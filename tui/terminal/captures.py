"""Saves copies of tables and pictures of the screen as files below the home."""

import io
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from batchscope.engine.errors import MachineProblem, printable
from batchscope.engine.system.private_folders import make_private

if TYPE_CHECKING:
    from textual.app import App

COPIES, PICTURES = "copies", "pictures"
FONTS = re.compile(r"@font-face \{.*?\}", re.DOTALL)


def keep(home: Path, folder: str, stem: str, contents: dict[str, str]) -> list[Path]:
    """Write files with one name and these suffixes; add a number if such files exist.

    Raises:
        MachineProblem: the files cannot be written.
    """
    place = home / folder
    try:
        make_private(home, place)
        name, number = stem, 1
        while any((place / f"{name}{suffix}").exists() for suffix in contents):
            number += 1
            name = f"{stem}-{number}"
        written = []
        for suffix, text in contents.items():
            path = place / f"{name}{suffix}"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            written.append(path)
    except OSError as error:
        raise MachineProblem(f"{printable(place)}: {error.strerror or error}") from None
    return written


def short_path(path: Path, room: int) -> str:
    """Return a path in so many cells: with `~` for the user's home, cut at its start."""
    shown = printable(path)
    home = str(Path.home())
    if shown.startswith(home + os.sep):
        shown = "~" + shown[len(home) :]
    return shown if len(shown) <= room else "…" + shown[len(shown) - max(1, room - 1) :]


def pictures(app: "App[str]") -> dict[str, str]:
    """Return the screen as SVG (without web fonts) and as text, by suffix."""
    width, height = app.size
    console = Console(
        width=width,
        height=height,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        record=True,
        legacy_windows=False,
    )
    update = app.screen._compositor.render_update(
        full=True, screen_stack=app._background_screens
    )  # as in Textual's own screenshot, which cannot give the text
    console.print(update)
    lines = console.export_text().splitlines()
    text = "\n".join(line.rstrip() for line in lines) + "\n"
    return {".svg": FONTS.sub("", app.export_screenshot()), ".txt": text}
