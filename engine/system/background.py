"""Runs work with the lowest priority in a process that later needs the normal one."""

import os
import sys
import threading
from collections.abc import Callable

LOWEST = 19


def in_background(work: Callable[[], None]) -> None:
    """Run `work` in a thread with the lowest priority, and wait for it.

    Without privileges a process cannot lower its niceness again. Linux has a niceness for each
    thread, so only this thread gets it; on other systems the work runs with normal priority.

    Raises:
        Exception: any exception that the work raises.
    """
    if sys.platform != "linux":
        work()
        return
    raised: list[BaseException] = []

    def lowly() -> None:
        os.nice(LOWEST)
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=lowly, daemon=True)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
