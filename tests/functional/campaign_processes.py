"""Finds the processes that a campaign has started, by a mark in their environment."""

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

MARK = "BATCHSCOPE_CAMPAIGN"
MODULES = {
    "batchscope.engine.conductor": "conductor",
    "batchscope.engine.standby": "standby",
    "batchscope.engine.worker": "worker",
    "batchscope.engine.rank": "rank",
    "batchscope.engine.data.prepare": "preparer",
    "batchscope.engine.export.report.render": "report",
}


class Found(NamedTuple):
    """A process, what it is, and its command."""

    pid: int
    kind: str
    words: tuple[str, ...]


def processes(mark: str) -> list[Found]:
    """Return the living processes with the mark, except this one."""
    found = []
    wanted = f"{MARK}={mark}".encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        with contextlib.suppress(OSError, IndexError):
            if wanted not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            if (folder / "stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                continue
            words = tuple(map(os.fsdecode, (folder / "cmdline").read_bytes().split(b"\0")))
            found.append(Found(int(folder.name), kind_of(words), words))
    return found


def kind_of(words: tuple[str, ...]) -> str:
    """Return what a process is, from its command; a viewer if it is none of the others."""
    for word in words:
        if word in MODULES:
            return MODULES[word]
        if "get_cpu_capability" in word:
            return "probe"
    return "viewer" if "attach" in words else "command"


def of_kind(mark: str, *kinds: str) -> list[Found]:
    """Return the processes of these kinds."""
    return [each for each in processes(mark) if each.kind in kinds]
