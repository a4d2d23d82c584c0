"""Starts the conductor's workers, sends them orders, receives their events and ends them."""

import asyncio
import contextlib
import subprocess
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import get_args

import msgspec

from batchscope.engine.errors import MachineProblem, printable
from batchscope.engine.journal import file as journal
from batchscope.engine.journal.events import (
    AnyEvent,
    Interpolated,
    MicroBatchesMeasured,
    Note,
    Paced,
    TrialEnded,
    WorkerLost,
    WorkerReady,
)
from batchscope.engine.journal.events import CodeRefused as RefusedByWorker
from batchscope.engine.orchestration.control import Control
from batchscope.engine.processes import orders
from batchscope.engine.processes.link import Link, ProcessLink, open_log
from batchscope.engine.processes.worker_processes import Reserve, start_worker
from batchscope.engine.system.scarcity import is_scarce, tells_of_scarcity
from batchscope.engine.tasks.code_digests import CodeRefused

HALT_PATIENCE_SECONDS = 20.0
DISMISSAL_SECONDS = 3.0
PINGS = 12
START_PATIENCE = 5  # times as long: a worker cannot answer while it loads libraries

Heard = Callable[[AnyEvent], None]
Start = Callable[[int], Awaitable[Link]]
"""Starts the worker with a given number, on this machine or on a node."""


class DiedAtStart(MachineProblem):
    """A worker ended while it started, without a reason; another attempt may succeed."""


class Scarce(DiedAtStart):
    """A worker could not be started because files, processes or memory are short at present."""


class _Kind(msgspec.Struct):
    """The field that every event has."""

    kind: str


KINDS = {kind.__struct_config__.tag for kind in get_args(AnyEvent)}


class WorkerHandle:
    """The conductor's handle on one worker."""

    def __init__(self, link: Link, number: int, device: str, silence: float) -> None:
        self.link, self.number, self.device = link, number, device
        self._silence, self._unanswered, self._killed = silence, 0, ""
        self.free_bytes: int | None = None
        """Bytes of memory that it may use on its node, if it reported them."""
        self.sharing = 1
        """How many such workers its node has room for."""
        self.fault = ""
        """The error of its device or node, if that ended it."""

    async def next_event(self) -> AnyEvent | None:
        """Return the next event of the worker; None once it is gone.

        A worker that sends anything else is killed: the line may have been the end of a trial, and
        then nothing would follow.
        """
        try:
            while line := await self.link.receive():
                self._unanswered = 0
                if line == orders.ALIVE:
                    continue
                if not line.endswith(b"\n"):  # it died while it wrote
                    return None
                try:
                    return journal.decode(line)
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                    if not _of_later_version(line):
                        raise
        # a line without end, or one that is no event
        except (ValueError, RecursionError, msgspec.MsgspecError):
            self._kill("because it sent a line that is no event")
        return None

    async def order(self, order: orders.AnyOrder) -> None:
        """Send an order. A worker that is gone is noticed by `next_event`, not here."""
        await self.link.send(order)

    async def work(self, order: orders.Work, heard: Heard, control: Control) -> str | None:
        """Send an order and wait until the worker has executed it; return why it was lost, or None.

        Args:
            order: what to measure or train.
            heard: called with each event of the worker.
            control: the stops, pauses and skips that are passed on to the worker.

        Raises:
            CodeRefused: it may not run the code of the task, so no other worker may.
        """
        left, members = set(orders.awaited(order)), [trial.id for trial in order.members]
        watching = asyncio.create_task(self.end_if_silent(self._silence))
        attending = None
        try:
            await self.order(order)
            attending = asyncio.create_task(self._attend(left, control))
            while event := await self.next_event():
                if isinstance(event, WorkerLost):
                    self.fault = event.reason
                    await self.end()
                    return event.reason
                if getattr(event, "trial", "") not in ("", *members):
                    self._kill("because it sent an event of another trial")
                    break
                heard(event)
                if isinstance(event, RefusedByWorker):
                    raise CodeRefused(event.reason, *event.files)
                if isinstance(event, TrialEnded):
                    left.discard(event.trial)
                if not left or isinstance(event, MicroBatchesMeasured | Paced | Interpolated):
                    return None
        finally:
            if attending:
                attending.cancel()
            watching.cancel()
        return await self.last_words()

    async def end(self) -> None:
        """Wait until the worker has ended, and kill it after `DISMISSAL_SECONDS`."""
        try:
            await asyncio.wait_for(self.link.wait(), DISMISSAL_SECONDS)
        except TimeoutError:
            self.link.kill()
            await self.link.wait()

    async def last_words(self) -> str:
        """Return a sentence on how a lost worker ended, with the last lines of its log."""
        code = await self.link.wait()
        self.fault = self.fault or self.link.fault
        if self.fault:
            return self.fault
        how = f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        if self._killed:
            how = f"killed {self._killed}"
        last = await self.link.last_lines()
        return f"the worker was {how}" + (f"; its log ends: {' | '.join(last)}" if last else "")

    async def end_if_silent(
        self, patience: float, worry: Callable[[], None] | None = None, after: float = 0.0
    ) -> None:
        """Ping the worker regularly, and kill it if it does not answer for `patience` seconds.

        Pings are counted, not seconds, so that a machine or a conductor that slept loses no worker.

        Args:
            patience: the seconds.
            worry: called once if the worker does not answer for `after` seconds.
            after: see `worry`.
        """
        self._unanswered = 0
        pause = patience / PINGS
        while self._unanswered < PINGS:
            due = asyncio.get_running_loop().time() + pause
            # the pipe to a frozen worker may be full
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.order(orders.Ping()), pause)
            await asyncio.sleep(due - asyncio.get_running_loop().time())
            self._unanswered += not self.link.busy
            if worry and self._unanswered * pause >= after:
                worry()
                worry = None
        self._kill(f"after {patience:g} s without an answer")

    def _kill(self, why: str) -> None:
        self._killed = self._killed or why
        self.link.kill()

    async def _attend(self, left: AbstractSet[str], control: Control) -> None:
        """Forward stops, pauses and skips to the worker while it has the trials `left`."""
        held, dropped = False, set[str]()
        async for _ in control.changes():
            unwanted = {trial for trial in left if control.ends(trial)}
            if unwanted == left:
                break
            for trial in sorted(unwanted - dropped):
                await self.order(orders.Drop(trial))
            dropped |= unwanted
            if control.paused != held:
                held = control.paused
                await self.order(orders.Hold() if held else orders.GoOn())
        await self.order(orders.Halt())
        await asyncio.sleep(HALT_PATIENCE_SECONDS)
        self.link.kill()


def _of_later_version(line: bytes) -> bool:
    """Return whether a line is an event of a kind that this version does not know."""
    try:
        return msgspec.json.decode(line, type=_Kind).kind not in KINDS
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


class Crew:
    """The workers of one conductor. Each local worker holds the sweep's lock.

    Args:
        folder: the sweep's folder.
        lock: the descriptor of the sweep's lock.
        heard: called with each event that a worker sends while it starts.
        silence: the seconds without an answer after which a worker is killed.
        reserve: workers that have started already; they are taken first.
        start: starts workers elsewhere, such as on the nodes of a cluster.
    """

    def __init__(
        self,
        folder: Path,
        lock: int,
        heard: Heard,
        silence: float,
        reserve: Reserve | None = None,
        start: Start | None = None,
    ) -> None:
        self._folder, self._lock, self._heard, self._silence = folder, lock, heard, silence
        self._reserve, self._start = reserve or Reserve(), start or self._start_here
        self._members: dict[int, WorkerHandle] = {}

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers on this machine."""
        return [pid for member in self._members.values() if (pid := member.link.pid) is not None]

    async def hire(
        self,
        number: int,
        device: str,
        threads: int,
        card: str = "",
        team: orders.TeamSpec = orders.TeamSpec(),  # noqa: B008 (it is frozen)
    ) -> WorkerHandle:
        """Start a worker and wait until it is ready.

        Args:
            number: the worker's number.
            device: the name of its device, such as `cuda:0`.
            threads: its CPU threads.
            card: the UUID of the GPU.
            team: the workers that train trials together with it.

        Raises:
            DiedAtStart: it ended before it was ready.
            MachineProblem: it could not use the device.
        """
        try:
            link = await self._start(number)
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            why = getattr(error, "strerror", None) or printable(str(error))
            problem = Scarce if is_scarce(error) else MachineProblem
            raise problem(f"a worker could not be started: {why}") from None
        member = WorkerHandle(link, number, device, self._silence)
        self._members[number] = member
        patience = START_PATIENCE * self._silence

        def worry() -> None:
            silent = f"worker {number} starts, and has not answered for {self._silence:g} s"
            text = f"{silent}; after {patience:g} s another is started"
            self._heard(Note(level="warning", text=text))

        watching = asyncio.create_task(member.end_if_silent(patience, worry, self._silence))
        try:
            setup = orders.Setup(number, device, threads, card, team=team, silence=self._silence)
            await member.order(setup)
            while event := await member.next_event():
                if isinstance(event, WorkerLost):
                    raise MachineProblem(event.reason)
                self._heard(event)
                if isinstance(event, WorkerReady):
                    member.free_bytes, member.sharing = event.free_bytes, event.sharing
                    return member
        finally:
            watching.cancel()
        words = await member.last_words()
        problem = Scarce if tells_of_scarcity(words) else DiedAtStart
        raise problem(f"a worker could not be started: {words}")

    async def _start_here(self, number: int) -> Link:
        """Start a worker as a child process that inherits the lock."""
        log = self._folder / f"worker-{number}.log"
        with open_log(log) as errors:
            waiting = self._reserve.take(self._lock, errors.fileno())
            process = waiting or await start_worker(errors, self._lock)
        return ProcessLink(process, log)

    def give_up(self, device: str, why: str) -> None:
        """Kill the workers of a lost device, because they might wait for it forever."""
        for member in self._members.values():
            if member.device == device and member.link.exit_code is None:
                member.fault = f"{device}: {why}"
                member.link.kill()

    async def let_go(self, number: int) -> None:
        """End a worker that the sweep does not need."""
        member = self._members.pop(number, None)
        if member is not None:
            member.link.close()
            await member.end()

    async def dismiss(self) -> None:
        """End every worker: close its stdin, then kill it if it does not end."""
        for member in self._members.values():
            member.link.close()
        for member in self._members.values():
            await member.end()
        self._members.clear()
