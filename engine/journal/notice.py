"""What a conductor has to say while it cannot write its journal.

The file is there from the start and has its size, so that a full disk still takes a new text.
"""

import contextlib
import os
from pathlib import Path

from batchscope.engine.errors import printable

NAME = "notice.txt"
SIZE = 512


class NoticeFile:
    """The notice of one sweep; nothing here ever fails."""

    def __init__(self, folder: Path) -> None:
        self._path, self._text = folder / NAME, ""
        with contextlib.suppress(OSError):
            self._path.touch(mode=0o600)
            self._put("")

    def say(self, text: str) -> None:
        """Put up a text, or take it down where it is empty."""
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
    """The notice of a sweep; empty where there is none."""
    try:
        return printable((folder / NAME).read_bytes()[:SIZE].decode("utf-8", "replace").strip())
    except OSError:
        return ""
