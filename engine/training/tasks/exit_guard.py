"""Says which line of a person's code left the process with `os._exit`.

`sys.exit` is an exception, which names its line. `os._exit` ends the process at once: without this,
nobody could tell it from a crash, and the training would be tried again.
"""

import os
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from batchscope.engine.tasks.code_digests import CodeDigests
from batchscope.engine.training.tasks.error_place import place_in


def guard_exit(code: CodeDigests, left: Callable[[str], None]) -> None:
    """From now on, call `left` before a person's code leaves this process with `os._exit`.

    Children that it forks leave as before, and so does batchscope itself.

    Args:
        code: tells which files are theirs.
        left: called once with what happened in one line, in the thread that leaves. It may end the
            process or replace the program; if it returns, the process ends as it was told to.
    """
    leave, process, once = os._exit, os.getpid(), threading.Lock()

    def exit_named(status: int) -> NoReturn:
        place = place_in(sys._getframe(1), code) if os.getpid() == process else ""
        if place and once.acquire(blocking=False):
            left(f"{place}: called os._exit({status!r})")
        leave(status)

    os._exit = exit_named
