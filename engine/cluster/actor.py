"""A worker on the node of a cluster, and beside it the one who passes on what it hears and says.

`Host` is what Ray places on a node. It starts the same worker as everywhere, so that a library that
prints, or a GPU that takes its process with it, does no more harm here than on one machine.
"""

import asyncio
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from batchscope import __version__
from batchscope.engine.checkpoints.mirror import DataShelf, Files, Mirror
from batchscope.engine.checkpoints.remote_store import Store, open_store
from batchscope.engine.processes.link import last_lines
from batchscope.engine.processes.worker_processes import start_worker

LOG = "worker.log"
RETRY_SECONDS = 1.0


class Hello(NamedTuple):
    """Where a host is, and with what it runs; `folder` stands for the sweep's there."""

    node: str
    version: str
    python: str
    folder: str


class WorkerOutput(NamedTuple):
    """Lines that a worker stated, and the files that are to be kept before they are believed."""

    lines: list[bytes]
    files: Files


class End(NamedTuple):
    """How a worker ended, and the end of its log."""

    exit_code: int
    last_lines: list[str]


class Host:
    """Has one worker; its methods are called from another machine, several at a time.

    `store` is where its checkpoints go, if not to whoever reads it.
    """

    def __init__(self, node: str, store: str = "", scratch: str = "") -> None:
        os.umask(0o077)
        self._node = node
        self._mirror = Mirror(Path(scratch) if scratch else None)
        self._shelf = DataShelf(self._mirror.scratch)
        self._store: Store | None = open_store(store) if store else None
        self._log = self._mirror.folder / LOG
        self._lines: list[bytes] = []
        self._news = asyncio.Event()
        self._over = False

    async def start(self) -> Hello:
        """Start the worker.

        Raises:
            OSError: the node refuses a process or a file.
        """
        with open(self._log, "ab") as errors:
            self._process = await start_worker(errors, None)
        self._pump = asyncio.create_task(self._listen())
        return Hello(self._node, __version__, platform.python_version(), str(self._mirror.folder))

    async def sees(self, where: str) -> bool:
        """Whether what the conductor left at a place can be seen from here."""
        return await asyncio.to_thread(open_store(where).is_marked)

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self._lines.append(line)
            self._news.set()
        self._over = True
        self._news.set()

    def has_data(self, digest: str) -> bool:
        """Whether the arrays with that SHA-256 lie on this node."""
        return self._shelf.has(digest)

    async def put_data(self, digest: str, files: Mapping[str, bytes]) -> None:
        """Lay the arrays down, for all workers of this node."""
        await asyncio.to_thread(self._shelf.put, digest, files)

    def data_folder(self, digest: str) -> str:
        """Where they lie."""
        return str(self._shelf.path_of(digest))

    async def begin(self, below: Iterable[str], files: Files) -> None:
        """Prepare for work that reads and writes in these folders, with what they hold by now."""
        if self._store is not None:
            files = await asyncio.to_thread(self._store.get, tuple(below))
        await asyncio.to_thread(self._mirror.begin, below, files)

    async def tell(self, line: bytes) -> None:
        """Pass an order on to the worker."""
        assert self._process.stdin is not None
        if not self._process.stdin.is_closing():
            self._process.stdin.write(line)

    async def read(self) -> WorkerOutput | None:
        """What it stated meanwhile, as soon as that is anything; None once it is gone."""
        await self._news.wait()
        self._news.clear()
        lines, self._lines = self._lines, []
        if self._over:
            self._news.set()
            if not lines:
                return None
        files = await asyncio.to_thread(
            self._mirror.changed
        )  # after the lines: see `engine.checkpoints.mirror`
        if files and self._store is not None:
            await self._keep(files)
            files = {}
        return WorkerOutput(lines, files)

    async def _keep(self, files: Files) -> None:
        """Put files into the store, however long it refuses: what they stand for waits for them."""
        assert self._store is not None
        while True:
            try:
                await asyncio.to_thread(self._store.put, files)
            except Exception as error:  # each store has errors of its own
                print(f"checkpoints cannot be stored: {error}", file=sys.stderr, flush=True)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    def close(self) -> None:
        """Have the worker end once it has done what it was asked."""
        if self._process.stdin:
            self._process.stdin.close()

    def kill(self) -> None:
        """End it at once."""
        if self._process.returncode is None:
            self._process.kill()

    async def ended(self) -> End:
        """Wait until it has ended, and leave nothing behind."""
        code = await self._process.wait()
        await self._pump
        said = last_lines(self._log)
        self._mirror.close()
        return End(code, said)
