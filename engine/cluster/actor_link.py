"""The line to a worker on a node of a Ray cluster: calls of an actor there, and their answers."""

import asyncio
import contextlib
import re
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec

from batchscope.engine.checkpoints.mirror import carried, put
from batchscope.engine.cluster.actor import End, Hello, WorkerOutput
from batchscope.engine.data.prepared import Prepared
from batchscope.engine.errors import printable
from batchscope.engine.processes import orders
from batchscope.engine.processes.link import GONE

RETRY_SECONDS = 0.5
CARRYING_SECONDS = 900.0
"""The longest that data and checkpoints may take to a node."""
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
DETAILS = re.compile(r'details = "([^"]+)"')
LONGEST = 300
NODE_WENT = ("its node has died", "node was terminated", "temporarily unavailable")
"""What Ray says of an actor whose node it can no longer speak to."""
DataOf = Callable[[Prepared], Any]
"""The reference by which Ray hands the arrays of a data set to whoever asks."""


class RayLink:
    """A worker on a node, as its conductor sees it.

    Paths below the sweep's `folder` are told as those of the node's mirror of it, and the files in
    them are carried there with an order and back with what is stated; unless a `store` keeps them.
    """

    def __init__(
        self, ray: Any, host: Any, hello: Hello, folder: Path, data_of: DataOf, store: bool
    ) -> None:
        self._ray, self._host, self._hello, self._folder = ray, host, hello, folder
        self._data_of, self._store = data_of, store
        self._lines: list[bytes] = []
        self._end: End | None = None
        self._killed, self._carrying, self.fault = False, False, ""

    @property
    def pid(self) -> int | None:
        """None: it is a process of another machine."""
        return None

    @property
    def exit_code(self) -> int | None:
        """None until somebody has waited for it."""
        return self._end.exit_code if self._end else None

    @property
    def busy(self) -> bool:
        """Whether files are on their way, which may take longer than an answer."""
        return self._carrying

    async def send(self, order: orders.AnyOrder) -> None:
        """Pass an order on, with the files that belong to it.

        Nobody waits until it has arrived: an actor that hangs is known by its silence.
        """
        if isinstance(order, orders.Setup):
            order = msgspec.structs.replace(order, node=self._hello.node)
        try:
            if isinstance(
                order, orders.Measure | orders.Pace | orders.TrainOrder | orders.Interpolate
            ):
                self._carrying = True
                async with asyncio.timeout(CARRYING_SECONDS):
                    order = await self._prepared(order)
            self._ask("tell", orders.encode(order) + b"\n")
        except _lost(self._ray) as error:  # without what belongs to it an order is lost
            self._lose(error)
        finally:
            self._carrying = False

    async def _prepared(self, order: orders.Work) -> orders.Work:
        data, folders = order.data, _folders(order)
        below = [path.relative_to(self._folder).as_posix() for path in folders if self._ours(path)]
        if not await self._call("has_data", data.digest):
            arrays = await asyncio.to_thread(self._data_of, data)
            await self._call("put_data", data.digest, arrays)
        files = {} if self._store else await asyncio.to_thread(carried, self._folder, below)
        await self._call("begin", below, files)
        there = await self._call("data_folder", data.digest)
        order = msgspec.structs.replace(order, data=msgspec.structs.replace(data, folder=there))
        return _moved(order, self._translated)

    def _ours(self, path: Path) -> bool:
        return path.is_relative_to(self._folder)

    def _translated(self, path: str) -> str:
        if not path or not self._ours(Path(path)):
            return path
        return str(Path(self._hello.folder) / Path(path).relative_to(self._folder))

    async def receive(self) -> bytes:
        """The next line, once the files that it stands for are kept."""
        while not self._lines:
            if self._end is not None:
                return b""
            try:
                batch: WorkerOutput | None = await self._call("read")
            except _gone(self._ray) as error:
                self._lose(error)
                return b""
            if batch is None:
                return b""
            await self._keep(batch)
            self._lines = list(batch.lines)
        return self._lines.pop(0)

    async def _keep(self, batch: WorkerOutput) -> None:
        """Have the files on our disk before anybody believes what is said of them."""
        self._carrying = bool(batch.files)
        while self._carrying:
            try:
                await asyncio.to_thread(put, self._folder, batch.files)
            except OSError:  # the disk is full: the journal waits as well
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._carrying = False

    def close(self) -> None:
        """Have it end; nobody waits for the answer."""
        with contextlib.suppress(*_gone(self._ray)):
            self._ask("close")

    def kill(self) -> None:
        """End it at once, also where its node does not answer."""
        self._killed = True
        with contextlib.suppress(*_gone(self._ray)):
            self._ask("kill")
        asyncio.get_running_loop().call_later(1.0, self._forget)

    async def wait(self) -> int:
        """Its exit code; of one whose node is gone there is none to be had."""
        if self._end is None:
            try:
                self._end = await self._call("ended")
            except _gone(self._ray) as error:
                self._lose(error)
        self._forget()
        return self._end.exit_code if self._end else GONE

    def _lose(self, error: BaseException) -> None:
        """Nothing more comes from it, and unless it was us who ended it, this is why.

        Only a node that went is no fault of what was trained there. What an actor fails over, or is
        ended for, such as the memory that it took, may come again with the same trial.
        """
        why = shortly(error)
        self._end = self._end or End(GONE, [] if self._killed else [why])
        if not self._killed and node_went(error):
            self.fault = f"node {self._hello.node} is gone: {why}"

    async def last_lines(self) -> list[str]:
        """The end of its log, or what became of its node."""
        await self.wait()
        return self._end.last_lines if self._end else []

    def _forget(self) -> None:
        """Have Ray end the actor, which gives back what it was given."""
        with contextlib.suppress(Exception):
            self._ray.kill(self._host)

    async def _call(self, method: str, *arguments: Any) -> Any:
        return await answer(self._ask(method, *arguments))

    def _ask(self, method: str, *arguments: Any) -> Any:
        """The reference by which an answer comes.

        Raises:
            ConnectionError: the line to the cluster is gone.
        """
        try:
            return getattr(self._host, method).remote(*arguments)
        except Exception as error:
            if type(error) is not Exception:
                raise
            # Ray's client has no class of its own for that
            raise ConnectionError(shortly(error)) from None


def answer(reference: Any) -> "asyncio.Future[Any]":
    """What a reference stands for, also where Ray is driven from outside the cluster.

    Ray's own future is never cancelled: its client stumbles over such when the line breaks.
    """
    loop = asyncio.get_running_loop()
    ours: asyncio.Future[Any] = loop.create_future()

    def settle(theirs: "Future[Any]") -> None:
        if ours.done():
            return
        error = None if theirs.cancelled() else theirs.exception()
        if theirs.cancelled():
            ours.set_exception(ConnectionError("Ray has dropped the call"))
        elif error is not None:
            ours.set_exception(error)
        else:
            ours.set_result(theirs.result())

    def tell(theirs: "Future[Any]") -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, theirs)

    reference.future().add_done_callback(tell)
    return ours


def _lost(ray: Any) -> tuple[type[BaseException], ...]:
    """What stands in the way of an order, on either machine; a time that has run out too."""
    return (ray.exceptions.RayError, OSError)


def _gone(ray: Any) -> tuple[type[BaseException], ...]:
    """What Ray raises where an actor, its node or the cluster is no more."""
    return (ray.exceptions.RayError, ConnectionError)


def node_went(error: BaseException) -> bool:
    """Whether it is the node that is gone or cannot be reached, as far as Ray can tell."""
    text = str(error)
    return isinstance(error, ConnectionError) or any(mark in text for mark in NODE_WENT)


def shortly(error: BaseException) -> str:
    """What Ray says, in a sentence: of an error on a node its last line, which is the reason."""
    text = COLOURS.sub("", str(error))
    if any(mark in text for mark in NODE_WENT[:2]):
        return "Ray says that it has died"
    detail = DETAILS.search(text)  # of gRPC, over which Ray's client speaks
    if detail:
        return printable(detail[1])[:LONGEST]
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    if "Traceback" in text or 'File "' in text:
        return printable(lines[-1])[:LONGEST]
    return printable(" ".join(lines).partition(". ")[0])[:LONGEST] or type(error).__name__


def _folders(order: orders.Work) -> list[Path]:
    """The folders that a worker reads or writes for an order."""
    match order:
        case orders.TrainOrder(checkpoints=kept, weights=weights):
            return [Path(each) for each in (kept, *weights.values()) if each]
        case orders.Interpolate(weights=weights):
            return [Path(each) for each in weights]
    return []


def _moved(order: orders.Work, translated: Callable[[str], str]) -> orders.Work:
    """The order with the paths of another machine."""
    match order:
        case orders.TrainOrder(checkpoints=kept, weights=weights):
            there = {trial: translated(folder) for trial, folder in weights.items()}
            return msgspec.structs.replace(order, checkpoints=translated(kept), weights=there)
        case orders.Interpolate(weights=(start, end)):
            both = (translated(start), translated(end))
            return msgspec.structs.replace(order, weights=both)
    return order
