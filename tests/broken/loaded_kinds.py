"""Loads the kinds of broken task in this process, and undoes what that changes in it."""

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path

from batchscope.engine.task_table import TaskTable
from batchscope.engine.training.tasks.task_host import TaskHost

SOURCE = Path(__file__).with_name("kinds.py")


def line_of(kind: str) -> str:
    """Return the place of a kind's mistake as messages name it: `kinds.py, line 12`."""
    lines = SOURCE.read_text("utf-8").splitlines()
    (number,) = [at for at, line in enumerate(lines, 1) if line.endswith(f"  # {kind}")]
    return f"kinds.py, line {number}"


def copied(folder: Path) -> Path:
    """Copy the module into a folder, which is made, and return the folder."""
    folder.mkdir(exist_ok=True)
    shutil.copy(SOURCE, folder / "kinds.py")
    return folder


@contextlib.contextmanager
def loaded(folder: Path, kind: str, use: str = "kinds:make") -> Iterator[TaskHost]:
    """Yield the host of a kind; afterwards nothing of the folder is left in this process."""
    here, paths, hooks = Path.cwd(), list(sys.path), list(sys.path_hooks)
    known, get_code = set(sys.modules), SourceFileLoader.get_code
    try:
        arguments = (("kind", kind),) if kind else ()
        yield TaskHost(TaskTable(use=use, arguments=arguments), folder)
    finally:
        os.chdir(here)
        sys.path[:], sys.path_hooks[:] = paths, hooks
        sys.path_importer_cache.clear()
        SourceFileLoader.get_code = get_code  # type: ignore[method-assign]
        for name in set(sys.modules) - known:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).is_relative_to(os.path.realpath(folder)):
                del sys.modules[name]
