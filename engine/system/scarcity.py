"""Recognizes that the system refuses open files, processes or memory, which may pass."""

import errno
import os

from batchscope.engine.errors import words_of

FEW_FILES = (errno.EMFILE, errno.ENFILE)
FEW_PROCESSES = (errno.EAGAIN,)
NO_THREAD = "can't start new thread"
WORDS = (*map(os.strerror, (*FEW_FILES, *FEW_PROCESSES)), NO_THREAD)


def is_scarce(error: BaseException | None) -> bool:
    """Return whether an error, or one that it was raised for, means a lack that may pass."""
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, OSError) and error.errno in (*FEW_FILES, *FEW_PROCESSES, errno.ENOMEM):
            return True
        if isinstance(error, RuntimeError) and tells_of_scarcity(words_of(error)):
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False


def tells_of_scarcity(text: str) -> bool:
    """Return whether the last words of a process name a lack of open files or processes."""
    return any(word in text for word in WORDS)
