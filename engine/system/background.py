"""Work that gives way to everything else, in a process that later does not."""

import os
import sys
import threading
from collections.abc import Callable

LOWEST = 19


def in_background(work: Callable[[], None]) -> None:
    """Do work in a thread of the lowest priority, and wait until it is done.

    A process that was made nice cannot be made less so without privileges. Linux has a niceness
    for each thread, so the rest of the process keeps its own; elsewhere the work has the usual one.

    Raises:
        Exception: what the work raised.
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
