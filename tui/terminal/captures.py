"""Saves copies of tables and pictures of the screen as files below the home."""

import io
import os
import re
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from batchscope.engine.errors import MachineProblem, Problem, printable
from batchscope.engine.system.private_folders import make_private

if TYPE_CHECKING:
    from textual.app import App

COPIES, PICTURES, CRASHES = "copies", "pictures", "crashes"
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


def kept_crash(home: Path) -> Problem:
    """Store the traceback of the error that is handled now; return the message about it."""
    kind, error, _ = sys.exc_info()
    what = f"{kind.__name__ if kind else 'Error'}: {error}"
    try:
        (path,) = keep(home, CRASHES, "crash", {".txt": traceback.format_exc()})
        where = f"the traceback is in {printable(path)}"
    except Problem as problem:
        last = traceback.extract_tb(error.__traceback__)[-1:] if error else []
        line = "".join(f" at {each.filename}:{each.lineno}" for each in last)
        where = f"raised{line}; the traceback could not be stored: {problem}"
    return Problem(
        f"an error in the program ended the screen, the sweep is not affected: {what}; {where}"
    )


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
