"""Says where a person's code stands, when one call of it has taken long.

A call is one of ours: of a task's function, a loss, a metric, or for a sample. They are counted
(`began`), and a thread looks now and then whether the number has grown. So watching costs the
training nothing, and a machine that slept is no call that took long.
"""

import sys
import threading
import time
from collections.abc import Callable

from batchscope.engine.tasks.code_digests import CodeDigests
from batchscope.engine.training.tasks.error_place import place_in

LOOKS = 12
"""How often the thread looks before it says something."""


class _Calls:
    number = 0


def began() -> None:
    """Count a call of a person's code."""
    _Calls.number += 1


class Watchdog:
    """Watches the thread that makes it, from another one.

    Args:
        seconds: how long one call may take.
        silent: called with the place in the person's code where it is then, in the other thread.
            It is called again only after another call has begun.
        code: tells which files are the person's; without it the place is empty.
        anywhere: whether to call `silent` also if the thread is outside of their code. Else that
            is no call that takes long: a training may be paused there.
    """

    def __init__(
        self,
        seconds: float,
        silent: Callable[[str], None],
        code: CodeDigests | None = None,
        anywhere: bool = False,
    ) -> None:
        self.code, self._anywhere = code, anywhere
        self._seconds, self._silent = seconds, silent
        self._watched, self._ended = threading.get_ident(), False
        threading.Thread(target=self._watch, daemon=True).start()

    def end(self) -> None:
        """Watch no longer."""
        self._ended = True

    def place(self) -> str:
        """Return the file and line that the watched thread is at; empty if none is theirs."""
        frame = sys._current_frames().get(self._watched)
        return place_in(frame, self.code) if self.code else ""

    def _watch(self) -> None:
        number, looks, said = _Calls.number, 0, False
        while not self._ended:
            time.sleep(self._seconds / LOOKS)
            if number != _Calls.number:
                number, looks, said = _Calls.number, 0, False
                continue
            place = self.place()
            looks = looks + 1 if place or self._anywhere else 0
            if looks >= LOOKS and not said and not self._ended:
                said = True
                self._silent(place)


def taken(seconds: float) -> str:
    """Return that a call has taken so long and is waited for, as messages end."""
    return f"one call has taken {seconds:g} s so far; it is waited for"
