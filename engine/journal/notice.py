"""The notice of a conductor that cannot write its journal, such as on a full disk.

The file has its full size from the start, so that a new text can be written on a full disk.
"""

import contextlib
import os
from pathlib import Path

from batchscope.engine.errors import printable

NAME = "notice.txt"
SIZE = 512


class NoticeFile:
    """The notice file of one sweep. Errors of the disk are ignored."""

    def __init__(self, folder: Path) -> None:
        self._path, self._text = folder / NAME, ""
        with contextlib.suppress(OSError):
            self._path.touch(mode=0o600)
            self._put("")

    def say(self, text: str) -> None:
        """Show a text, or remove the notice if the text is empty."""
        if text != self._text:
            self._text = text
            with contextlib.suppress(OSError):
                self._put(text)

    def _put(self, text: str) -> None:
        descriptor = os.open(self._path, os.O_WRONLY)
        try:
            os.pwrite(descriptor, text.encode("utf-8", "replace")[:SIZE].ljust(SIZE), 0)
        finally:
            os.close(descriptor)


def read(folder: Path) -> str:
    """Return the notice of a sweep; empty if there is none."""
    try:
        return printable((folder / NAME).read_bytes()[:SIZE].decode("utf-8", "replace").strip())
    except OSError:
        return ""
