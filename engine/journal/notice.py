"""The notice of a conductor that cannot write its journal, such as on a full disk.

The file has its full size from the start, so that a new text can be written on a full disk.
"""

import contextlib
import os
from pathlib import Path

from batchscope.engine.errors import printable
from batchscope.engine.system.untrusted_files import open_regular, open_to_write

NAME = "notice.txt"
SIZE = 512


class NoticeFile:
    """The notice file of one sweep. Errors of the disk are ignored."""

    def __init__(self, folder: Path) -> None:
        self._path, self._text = folder / NAME, ""
        with contextlib.suppress(OSError):
            open_to_write(self._path).close()
            self._put("")

    def say(self, text: str) -> None:
        """Show a text, or remove the notice if the text is empty."""
        if text != self._text:
            self._text = text
            with contextlib.suppress(OSError):
                self._put(text)

    def _put(self, text: str) -> None:
        with open_to_write(self._path, create=False) as file:
            os.pwrite(file.fileno(), text.encode("utf-8", "replace")[:SIZE].ljust(SIZE), 0)


def read(folder: Path) -> str:
    """Return the notice of a sweep; empty if there is none."""
    try:
        with open_regular(folder / NAME, most=None, follow=False) as file:
            text = file.read(SIZE).decode("utf-8", "replace").strip(" \0\n")
    except OSError:
        return ""
    return printable(text)
