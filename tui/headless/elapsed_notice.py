"""Log lines about work that takes long, while it takes long."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from batchscope.tui.headless.log_lines import Log

AGAIN_SECONDS = 10.0


@contextmanager
def elapsed_notice(log: Log, event: str, text: str, after: float | None) -> Iterator[None]:
    """Log a line if the body takes longer than `after` seconds, and then every ten seconds.

    Args:
        log: where to.
        event: name of the line.
        text: what is done.
        after: seconds until the first line; None for no line.
    """
    if after is None:
        yield
        return
    ended, begun = threading.Event(), time.monotonic()

    def tell() -> None:
        if not ended.wait(after):
            log.say(event, text)
        while not ended.wait(AGAIN_SECONDS):
            seconds = time.monotonic() - begun
            log.say(event, f"{text}: {seconds:.0f} s so far")

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()
