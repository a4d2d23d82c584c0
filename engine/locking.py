"""The lock of a sweep: held by its conductor and the workers that inherit it, or to delete it."""

import fcntl
import os
import time
from pathlib import Path

from engine.catalog import LOCK

LOCK_PATIENCE_SECONDS = 3.0


def take_lock(folder: Path, patience: float = LOCK_PATIENCE_SECONDS) -> int | None:
    """Hold the sweep's lock; None if another process keeps it.

    A viewer that asks whether the sweep lives touches the lock for a moment, hence the retries.
    """
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except OSError:
            if time.monotonic() > deadline:
                os.close(lock)
                return None
            time.sleep(0.02)
