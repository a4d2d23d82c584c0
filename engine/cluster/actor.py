"""A worker on a node of a cluster, and the Ray actor that passes its orders and events on.

Ray places a `Host` on a node. It starts the usual worker as a process of its own, so that a library
that prints, or a GPU error that ends the process, does no more damage than on one machine.
"""

import asyncio
import contextlib
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from batchscope import __version__
from batchscope.engine.checkpoints.mirror import DataShelf, Files, Mirror, divided
from batchscope.engine.checkpoints.remote_store import Store, open_store
from batchscope.engine.data.prepared_files import holds
from batchscope.engine.processes import orders
from batchscope.engine.processes.link import last_lines, open_log, size_of
from batchscope.engine.processes.worker_processes import start_worker

LOG = "worker.log"
RETRY_SECONDS = 1.0


class Hello(NamedTuple):
    """The node of a host and its versions; `folder` is the copy of the sweep's folder there."""

    node: str
    version: str
    python: str
    folder: str


class WorkerOutput(NamedTuple):
    """Lines of a worker, and the files to be stored before the lines may be recorded."""

    lines: list[bytes]
    files: Files


class End(NamedTuple):
    """How a worker ended, and the end of its log."""

    exit_code: int
    last_lines: list[str]


class Host:
    """The Ray actor of one worker. Its methods are called from another machine, concurrently.

    Args:
        node: the name of the node.
        store: the URL for its checkpoints; if empty, they are sent to the conductor.
        scratch: the folder for its files; if empty, the node's folder for temporary files.
    """

    def __init__(self, node: str, store: str = "", scratch: str = "") -> None:
        os.umask(0o077)
        self._node = node
        self._mirror = Mirror(Path(scratch) if scratch else None)
        self._shelf = DataShelf(self._mirror.scratch, holds)
        self._store: Store | None = open_store(store) if store else None
        self._log = self._mirror.folder / LOG
        self._log_from = 0
        self._lines: list[bytes] = []
        self._news = asyncio.Event()
        self._over = False

    async def start(self) -> Hello:
        """Start the worker.

        Raises:
            OSError: a process or a file could not be created on the node.
        """
        with open_log(self._log) as errors:
            self._process = await start_worker(errors, None)
        self._pump = asyncio.create_task(self._listen())
        return Hello(self._node, __version__, platform.python_version(), str(self._mirror.folder))

    async def sees(self, where: str) -> bool:
        """Return whether this node sees the mark that the conductor left at `where`."""
        return await asyncio.to_thread(open_store(where).is_marked)

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        try:
            while line := await self._process.stdout.readline():
                self._lines.append(line)
                self._news.set()
        except ValueError:  # a line without end
            with contextlib.suppress(ProcessLookupError):
                self.kill()
        self._over = True
        self._news.set()

    def has_data(self, digest: str) -> bool:
        """Return whether this node has the arrays with that SHA-256."""
        return self._shelf.has(digest)

    async def put_data(self, digest: str, files: Mapping[str, bytes]) -> None:
        """Store the arrays for all workers of this node."""
        await asyncio.to_thread(self._shelf.put, digest, files)

    def data_folder(self, digest: str) -> str:
        """Return the folder of the arrays with that SHA-256."""
        return str(self._shelf.path_of(digest))

    async def begin(self, below: Iterable[str], files: Files) -> None:
        """Prepare the folders that the next order reads and writes.

        Args:
            below: their paths relative to the sweep's folder.
            files: their current files; not used if checkpoints are in a store.
        """
        if self._store is not None:
            files = await asyncio.to_thread(self._store.get, tuple(below))
        await asyncio.to_thread(self._mirror.begin, below, files)

    async def tell(self, line: bytes) -> None:
        """Pass a line with an order on to the worker."""
        assert self._process.stdin is not None
        if isinstance(orders.decode(line), orders.Work):
            self._log_from = size_of(self._log)
        if not self._process.stdin.is_closing():
            self._process.stdin.write(line)

    async def read(self) -> WorkerOutput | None:
        """Wait for output of the worker and return it; return None once the worker is gone."""
        await self._news.wait()
        self._news.clear()
        lines, self._lines = self._lines, []
        if self._over:
            self._news.set()
            if not lines:
                return None
        # after the lines: see `engine.checkpoints.mirror`
        files = await asyncio.to_thread(self._mirror.changed)
        if files and self._store is not None:
            for_conductor, for_store = divided(files)
            await self._keep(for_store)
            files = for_conductor
        return WorkerOutput(lines, files)

    async def _keep(self, files: Files) -> None:
        """Put files into the store; retry until it accepts them, since events wait for them."""
        assert self._store is not None
        while True:
            try:
                await asyncio.to_thread(self._store.put, files)
            except Exception as error:  # each kind of store has its own errors
                print(f"checkpoints cannot be stored: {error}", file=sys.stderr, flush=True)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    def close(self) -> None:
        """Tell the worker to end after its current order."""
        if self._process.stdin:
            self._process.stdin.close()

    def kill(self) -> None:
        """Kill the worker."""
        if self._process.returncode is None:
            self._process.kill()

    async def ended(self) -> End:
        """Wait until the worker has ended, and remove its files."""
        code = await self._process.wait()
        await self._pump
        said = last_lines(self._log, self._log_from)
        self._mirror.close()
        return End(code, said)
