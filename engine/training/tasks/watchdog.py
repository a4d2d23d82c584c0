"""Says where a person's code hangs, when nothing has been heard of it for a while."""

import sys
import threading
import traceback
from collections.abc import Callable

from batchscope.engine.tasks.code_digests import CodeDigests
from batchscope.engine.training.tasks.error_place import at, is_theirs


class Watchdog:
    """Watches the thread that makes it, from another one.

    Args:
        seconds: how long it may be silent.
        silent: called once with the place in the person's code where it is then.
    """

    def __init__(self, seconds: float, silent: Callable[[str], None]) -> None:
        self.code: CodeDigests | None = None
        """Tells which files are the person's; nothing is named without it."""
        self._seconds, self._silent, self._heard = seconds, silent, threading.Event()
        self._watched = threading.get_ident()
        threading.Thread(target=self._watch, daemon=True).start()

    def hear(self) -> None:
        """Begin to wait anew."""
        self._heard.set()

    def _watch(self) -> None:
        while self._heard.wait(self._seconds):
            self._heard.clear()
        self._silent(self._place())

    def _place(self) -> str:
        """Return the file and line that the watched thread is at; empty if none is theirs."""
        frame = sys._current_frames().get(self._watched)
        if frame is None or self.code is None:
            return ""
        for each in reversed(traceback.extract_stack(frame)):
            if is_theirs(each.filename, self.code):
                return at(each.filename, each.lineno, self.code)
        return ""
