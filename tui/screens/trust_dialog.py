"""The question whether a person's own code may be run, before anything of it is."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from batchscope.engine.errors import Problem, printable
from batchscope.engine.sweeps.trust import TrustQuestion, allow
from batchscope.tui.screens.dialog import Dialog, MessageDialog
from batchscope.tui.widgets.key_hints import KeyLine

NOT_STARTED = "Not started: its code is not trusted"


class TrustDialog(Dialog[bool]):
    """Asks whether code of a folder may be run; returns whether it may."""

    CSS_PATH = "dialog.tcss"

    def __init__(self, question: TrustQuestion) -> None:
        super().__init__()
        scope = (
            "Exactly this code is trusted: any change is asked about again."
            if question.digest
            else "A link in its place, another owner, or write permission for others is asked "
            "about again. `batchscope trust --revoke` takes the answer back."
        )
        self._text = Text.assemble(
            ("Run your own code?" if is_mine(question.folder) else "Run this code?", "bold"),
            "\n\n",
            question.text,
            "\n\n",
            *((("runs    ", "dim"), printable(question.runs), "\n") if question.runs else ()),
            ("folder  ", "dim"),
            printable(question.folder),
            "\n",
            ("owner   ", "dim"),
            owner(question.folder),
            "\n\n",
            "It runs with your permissions: it can read and change your files. ",
            scope,
            "\n",
        )

    def compose(self) -> ComposeResult:
        """Yield the question, folder, owner and the two keys."""
        with VerticalScroll(classes="dialog"):
            yield Static(self._text, markup=False)
            yield KeyLine(("t", "t", "trust and run"), ("escape", "esc", "do not run"))

    def on_key(self, event: events.Key) -> None:
        """Take t as yes and escape as no; ignore other keys, so that enter trusts nothing."""
        if event.key in ("t", "escape"):
            event.stop()
            self.dismiss(event.key == "t")


def ask_trust(
    app: App[str],
    home: Path,
    question: TrustQuestion | None,
    run: Callable[[], None],
    refused: Callable[[str], None],
) -> None:
    """Ask a question about trust, if there is one, and go on as it is answered.

    Args:
        app: the app.
        home: the folder with the file of trusted folders.
        question: the question; None if there is nothing to ask.
        run: what to do once the code may be run.
        refused: what to do with the reason otherwise.
    """
    if question is None:
        run()
    elif question.refused:
        app.push_screen(
            MessageDialog("This code is not run", question.text),
            lambda _: refused(NOT_STARTED),
        )
    else:
        app.push_screen(TrustDialog(question), partial(_answered, home, question, run, refused))


def _answered(
    home: Path,
    question: TrustQuestion,
    run: Callable[[], None],
    refused: Callable[[str], None],
    yes: bool | None,
) -> None:
    if not yes:
        refused(NOT_STARTED)
        return
    try:
        allow(home, question)
    except Problem as problem:
        refused(str(problem))
        return
    run()


def owner(folder: Path) -> str:
    """Return the name of a folder's owner, with “you” if it is the user."""
    import pwd

    try:
        number = folder.stat().st_uid
    except OSError:
        return "unknown"
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = f"user {number}"
    return f"{printable(name)} (you)" if number == os.geteuid() else printable(name)


def is_mine(folder: Path) -> bool:
    """Return whether a folder belongs to the user."""
    try:
        return folder.stat().st_uid == os.geteuid()
    except OSError:
        return False
