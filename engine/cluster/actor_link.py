"""The connection to a worker on a node of a Ray cluster, by calls of an actor there."""

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
"""The longest time to send data and checkpoints to a node."""
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
DETAILS = re.compile(r'details = "([^"]+)"')
LONGEST = 300
NODE_WENT = ("its node has died", "node was terminated", "temporarily unavailable")
"""Phrases in Ray's errors that mean that an actor's node cannot be reached."""
DataOf = Callable[[Prepared], Any]
"""Returns a Ray reference to the arrays of a data set."""


class RayLink:
    """The connection to a worker on a node.

    Paths below the sweep's folder are translated to those of its copy on the node. The files there
    are sent along with an order and come back with the events, unless a store keeps them.

    Args:
        ray: the `ray` module.
        host: the handle of the `Host` actor.
        hello: what the actor reported at its start.
        folder: the sweep's folder on this machine.
        data_of: returns a Ray reference to the arrays of a data set.
        store: whether checkpoints are kept at a URL.
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
        """Always None: the process is on another machine."""
        return None

    @property
    def exit_code(self) -> int | None:
        """The exit code; None until `wait` has returned it."""
        return self._end.exit_code if self._end else None

    @property
    def busy(self) -> bool:
        """Whether files are being transferred, which may delay an answer."""
        return self._carrying

    async def send(self, order: orders.AnyOrder) -> None:
        """Send an order and the files that belong to it, without waiting for its arrival.

        An actor that hangs is noticed because its worker does not answer pings.
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
        except _lost(self._ray) as error:  # the order cannot be executed without its files
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
        """Return the next line, after the files that it refers to are stored."""
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
        """Write the files to this machine's disk before their events are recorded."""
        self._carrying = bool(batch.files)
        while self._carrying:
            try:
                await asyncio.to_thread(put, self._folder, batch.files)
            except OSError:  # the disk is full: the journal waits as well
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._carrying = False

    def close(self) -> None:
        """Tell the worker to end after its current order, without waiting."""
        with contextlib.suppress(*_gone(self._ray)):
            self._ask("close")

    def kill(self) -> None:
        """Kill the worker, even if its node does not answer."""
        self._killed = True
        with contextlib.suppress(*_gone(self._ray)):
            self._ask("kill")
        asyncio.get_running_loop().call_later(1.0, self._forget)

    async def wait(self) -> int:
        """Wait for the worker to end; return its exit code, or `GONE` if its node is gone."""
        if self._end is None:
            try:
                self._end = await self._call("ended")
            except _gone(self._ray) as error:
                self._lose(error)
        self._forget()
        return self._end.exit_code if self._end else GONE

    def _lose(self, error: BaseException) -> None:
        """Record that the worker is lost, and why, unless this process killed it.

        Only a lost node counts as a fault of the place. Other errors of the actor, such as too
        little memory, may be caused by the trial and happen again.
        """
        why = shortly(error)
        self._end = self._end or End(GONE, [] if self._killed else [why])
        if not self._killed and node_went(error):
            self.fault = f"node {self._hello.node} is gone: {why}"

    async def last_lines(self) -> list[str]:
        """Return the last lines of its log, or Ray's error if its node is gone."""
        await self.wait()
        return self._end.last_lines if self._end else []

    def _forget(self) -> None:
        """End the actor, which frees its resources on the cluster."""
        with contextlib.suppress(Exception):
            self._ray.kill(self._host)

    async def _call(self, method: str, *arguments: Any) -> Any:
        return await answer(self._ask(method, *arguments))

    def _ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of the actor and return the Ray reference to its result.

        Raises:
            ConnectionError: the connection to the cluster is lost.
        """
        try:
            return getattr(self._host, method).remote(*arguments)
        except Exception as error:
            if type(error) is not Exception:
                raise
            # Ray's client raises a plain Exception for a lost connection
            raise ConnectionError(shortly(error)) from None


def answer(reference: Any) -> "asyncio.Future[Any]":
    """Return a future for the value of a Ray reference; it works with Ray's client too.

    Ray's own future is never cancelled, since a cancelled one breaks Ray's client when the
    connection is lost.
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
    """Return the exceptions that mean that an order could not be sent, timeouts included."""
    return (ray.exceptions.RayError, OSError)


def _gone(ray: Any) -> tuple[type[BaseException], ...]:
    """Return the exceptions that mean that an actor, its node or the cluster is gone."""
    return (ray.exceptions.RayError, ConnectionError)


def node_went(error: BaseException) -> bool:
    """Return whether Ray's error means that the node is gone or cannot be reached."""
    text = str(error)
    return isinstance(error, ConnectionError) or any(mark in text for mark in NODE_WENT)


def shortly(error: BaseException) -> str:
    """Return Ray's error as one sentence; of an error on a node its last line, the reason."""
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
    """Return the folders that a worker reads or writes for an order."""
    match order:
        case orders.TrainOrder():
            folders = {order.checkpoints, *order.weights.values()}
            folders |= {each.folder for each in order.kept.values()}
            return [Path(each) for each in sorted(folders) if each]
        case orders.Interpolate(weights=weights):
            return [Path(each) for each in weights]
    return []


def _moved(order: orders.Work, translated: Callable[[str], str]) -> orders.Work:
    """Return a copy of the order with its paths mapped by `translated`."""
    match order:
        case orders.TrainOrder():
            replace = msgspec.structs.replace
            return replace(
                order,
                checkpoints=translated(order.checkpoints),
                weights={trial: translated(folder) for trial, folder in order.weights.items()},
                kept={
                    trial: replace(each, folder=translated(each.folder))
                    for trial, each in order.kept.items()
                },
            )
        case orders.Interpolate(weights=(start, end)):
            both = (translated(start), translated(end))
            return msgspec.structs.replace(order, weights=both)
    return order
