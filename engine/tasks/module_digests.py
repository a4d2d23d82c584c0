"""Returns one digest of a task's tables and of every module in its folder, without running any.

A preset that came in an export is trusted by it: neither another module nor another argument can be
put in later. What may be imported cannot be known without running it, so every module counts.
"""

import hashlib
import importlib.machinery
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from batchscope.engine.errors import UsageProblem, printable
from batchscope.engine.formatting import shown_size
from batchscope.engine.system.untrusted_files import open_regular
from batchscope.engine.task_table import TaskTable
from batchscope.engine.tasks.code_digests import INSTALLED

SUFFIXES = (
    *importlib.machinery.SOURCE_SUFFIXES,
    *importlib.machinery.EXTENSION_SUFFIXES,
    *importlib.machinery.BYTECODE_SUFFIXES,
)
SKIPPED = ("__pycache__", *INSTALLED)
MOST_MODULES = 2_000
MOST_ENTRIES = 20_000
MOST_BYTES = 64 << 20
CHUNK = 1 << 20


def digest_of_code(tables: Iterable[TaskTable], folder: Path) -> str:
    """Return the SHA-256 of `[task]`, with every value that a grid gives it, and of all modules.

    Raises:
        UsageProblem: the folder has too many modules, or one cannot be read.
    """
    replace = msgspec.structs.replace
    written = sorted({msgspec.json.encode(replace(each, facts=None)) for each in tables})
    found = hashlib.sha256(msgspec.json.encode([each.decode() for each in written]))
    left = MOST_BYTES
    for number, path in enumerate(sorted(_modules(folder))):
        if number == MOST_MODULES:
            raise _too_much(folder, f"more than {MOST_MODULES:,} modules")
        name = os.fsencode(path.relative_to(folder))
        if path.is_symlink():  # of two files that are in the digest, it says which is run
            target = os.fsencode(path.readlink())
            found.update(b"%d %s > %d %s " % (len(name), name, len(target), target))
        if path.is_dir():
            continue
        content = _content(path, left)
        left -= len(content)
        if left < 0:
            raise _too_much(folder, f"modules of more than {shown_size(MOST_BYTES)}")
        found.update(b"%d %s %d " % (len(name), name, len(content)))
        found.update(content)
    return found.hexdigest()


def digest_of_file(path: Path) -> str:
    """Return the SHA-256 of a file; empty if it is not there or cannot be read."""
    try:
        with open_regular(path, None) as file:
            found = hashlib.sha256()
            while chunk := file.read(CHUNK):
                found.update(chunk)
            return found.hexdigest()
    except OSError:
        return ""


def _modules(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder that could be imported, and links to folders.

    `__pycache__` is never used, and what is installed in an environment is no code of the folder.
    Code may put a folder of any other name on `sys.path`.
    """
    entries = 0
    for here, folders, files in os.walk(folder, followlinks=False):
        folders[:] = [name for name in folders if name[0] != "." and name not in SKIPPED]
        entries += len(folders) + len(files)
        if entries > MOST_ENTRIES:
            raise _too_much(folder, f"more than {MOST_ENTRIES:,} files")
        yield from (Path(here, name) for name in files if name.endswith(SUFFIXES))
        yield from (path for name in folders if (path := Path(here, name)).is_symlink())


def _content(path: Path, most: int) -> bytes:
    try:
        with open_regular(path, None) as file:
            return file.read(most + 1)
    except OSError as error:
        raise UsageProblem(f"{printable(path)}: {printable(error.strerror or error)}") from None


def _too_much(folder: Path, what: str) -> UsageProblem:
    return UsageProblem(
        f"{printable(folder)}: has {what}, too many to trust a preset of an export by their "
        "digests; write a preset of your own for this folder"
    )
