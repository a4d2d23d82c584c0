"""Takes memory, open files, processes or `/dev/shm` away from a process for a while."""

import contextlib
import os
import random
import resource
import signal
from collections.abc import Callable
from pathlib import Path

SHM = Path("/dev/shm")
SMALL_SHM_BYTES = 8 << 20
MOST_SPARE_BYTES = 32 << 20
FILLER = "batchscope-campaign-filler"

Lift = Callable[[], None]


def kill(pid: int, _: random.Random) -> None:
    """Kill it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def stop(pid: int, _: random.Random) -> None:
    """Freeze it; `lift` lets it go on."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)


def memory(pid: int, chance: random.Random) -> None:
    """Leave it up to 32 MiB of address space more than it has."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
        spare = chance.randrange(MOST_SPARE_BYTES)
        _limit(pid, resource.RLIMIT_AS, pages * resource.getpagesize() + spare)


def files(pid: int, chance: random.Random) -> None:
    """Leave it up to three descriptors more than it has open."""
    with contextlib.suppress(OSError):
        count = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        _limit(pid, resource.RLIMIT_NOFILE, count + chance.randrange(4))


def processes(pid: int, _: random.Random) -> None:
    """Leave it no further process or thread; this has no effect on root."""
    _limit(pid, resource.RLIMIT_NPROC, 1)


def shared_memory(_: int, __: random.Random) -> None:
    """Fill `/dev/shm`, which should be a small one of this campaign's own."""
    with contextlib.suppress(OSError), open(SHM / FILLER, "ab", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))


WAYS: dict[str, Callable[[int, random.Random], None]] = {
    "kill": kill,
    "stop": stop,
    "memory": memory,
    "files": files,
    "processes": processes,
    "shm": shared_memory,
}


def lift(pid: int) -> None:
    """Give a process back what was taken, and let it go on."""
    with contextlib.suppress(OSError):
        (SHM / FILLER).unlink()
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC):
        _limit(pid, kind, None)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def _limit(pid: int, kind: int, most: int | None) -> None:
    """Set a soft limit; None sets it to the hard limit, which stays as it is."""
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.prlimit(pid, kind)
        ours = resource.getrlimit(kind)[0] if most is None else most
        resource.prlimit(pid, kind, (ours, hard))


def has_small_shm() -> bool:
    """Return whether `/dev/shm` is small enough to be filled without harm to others."""
    with contextlib.suppress(OSError):
        status = os.statvfs(SHM)
        return status.f_blocks * status.f_frsize <= SMALL_SHM_BYTES
    return False
