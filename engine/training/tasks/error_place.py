"""Says where in a person's code an error came from, in one line."""

import argparse
import functools
import os
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any

from batchscope.engine.errors import Problem, printable, words_of
from batchscope.engine.tasks.code_digests import INSTALLED, CodeDigests

FRAME = re.compile(r'^  File "(.*)", line (\d+) in ', re.MULTILINE)
MOST = 500
"""Characters of an error's own text."""
ARGUMENTS = (
    "argparse ended the process: a task has no command line; parse it in the function that "
    "`if __name__ == '__main__':` calls, and give the values in [task.arguments]"
)


def explained(error: BaseException, code: CodeDigests, beside: str = "") -> str:
    """Return what went wrong in one line: file and line of a person's code, and the error.

    Args:
        error: what was raised.
        code: tells which files are theirs.
        beside: where to look if no frame of the error is in their code.
    """
    where = place(error.__traceback__, code)
    if isinstance(error, Problem):
        return printable(f"{where}: {error}" if where else str(error))
    if isinstance(error, SyntaxError) and error.filename and code.holds(error.filename):
        where = at(error.filename, error.lineno, code)
    if isinstance(error, SystemExit) and _reads_arguments(error.__traceback__):
        return printable(f"{where or beside}: {ARGUMENTS}")
    what = "called sys.exit" if isinstance(error, SystemExit) else type(error).__name__
    text = " ".join(words_of(error).split())[:MOST]
    return printable(f"{where or beside}: {what}" + (f": {text}" if text else ""))


def _reads_arguments(trace: TracebackType | None) -> bool:
    """Return whether `argparse` ended the process."""
    return any(each.filename == argparse.__file__ for each in traceback.extract_tb(trace))


def place(trace: TracebackType | None, code: CodeDigests) -> str:
    """Return file and line of the innermost frame in a person's folder; empty if there is none."""
    for frame in reversed(traceback.extract_tb(trace)):
        if is_theirs(frame.filename, code):
            return at(frame.filename, frame.lineno, code)
    return ""


def place_in(frame: FrameType | None, code: CodeDigests) -> str:
    """Return file and line of the innermost frame of a stack in a person's folder; or nothing."""
    while frame is not None:
        if is_theirs(frame.f_code.co_filename, code):
            return at(frame.f_code.co_filename, frame.f_lineno, code)
        frame = frame.f_back
    return ""


def place_in_text(trace: str, code: CodeDigests) -> str:
    """Return file and line of the innermost frame of theirs in what `faulthandler` has written.

    The thread that has run longest comes last there; it is the one that was started first.
    """
    for thread in reversed(trace.split("(most recent call first):")[1:]):
        for file, line in FRAME.findall(thread):
            if is_theirs(file, code):
                return at(file, int(line), code)
    return ""


def at(file: str, line: int | None, code: CodeDigests) -> str:
    """Return a place in a person's folder as messages name it: `mine.py, line 12`."""
    return f"{_below(file, code.folder)}, line {line}"


def is_theirs(file: str, code: CodeDigests) -> bool:
    """Return whether a file is in a person's folder, and not a package installed below it."""
    if not Path(file).is_absolute() or not code.holds(file):
        return False
    return not set(_below(file, code.folder).parts) & set(INSTALLED)


def place_of(function: Callable[..., Any]) -> str:
    """Return file and line of a definition below the current folder; empty if it is elsewhere.

    In a process that runs a task, the current folder is that of the task.
    """
    found = _code(function)
    if found is None:
        return ""
    file, here = Path(os.path.realpath(found.co_filename)), Path(os.path.realpath("."))
    if not file.is_relative_to(here):
        return ""
    return printable(f"{file.relative_to(here)}, line {found.co_firstlineno}")


def named(name: str, function: Callable[..., Any]) -> str:
    """Return a function's name for a message, with its place: `loss (mine.py, line 12)`."""
    where = place_of(function)
    return f"{name} ({where})" if where else name


def _code(function: Any) -> CodeType | None:
    """Return the code of a function, a method, a partial, a class, or an object that is called."""
    for _ in range(10):
        if isinstance(function, functools.partial):
            function = function.func
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        else:
            break
    found = getattr(function, "__code__", None)
    if found is None:
        kind, name = (function, "__init__") if isinstance(function, type) else (type(function), "")
        found = getattr(vars(kind).get(name or "__call__"), "__code__", None)
    return found if isinstance(found, CodeType) else None


def _below(file: str, folder: Path) -> Path:
    return Path(os.path.realpath(file)).relative_to(folder)
