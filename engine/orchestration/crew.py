"""Starts the conductor's workers, sends them orders, receives their events and ends them."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from pathlib import Path

import msgspec

from batchscope.engine.errors import MachineProblem
from batchscope.engine.journal import file as journal
from batchscope.engine.journal.events import (
    AnyEvent,
    Interpolated,
    MicroBatchesMeasured,
    Paced,
    TrialEnded,
    WorkerLost,
    WorkerReady,
)
from batchscope.engine.orchestration.control import Control
from batchscope.engine.processes import orders
from batchscope.engine.processes.link import Link, ProcessLink
from batchscope.engine.processes.worker_processes import Reserve, start_worker

HALT_PATIENCE_SECONDS = 20.0
DISMISSAL_SECONDS = 3.0
PINGS = 12
START_PATIENCE = 5  # times as long: a worker cannot answer while it loads libraries

Heard = Callable[[AnyEvent], None]
Start = Callable[[int], Awaitable[Link]]
"""Starts the worker with a given number, on this machine or on a node."""


class DiedAtStart(MachineProblem):
    """A worker was killed while it started; another attempt may succeed."""


class WorkerHandle:
    """The conductor's handle on one worker."""

    def __init__(self, link: Link, number: int, device: str, silence: float) -> None:
        self.link, self.number, self.device = link, number, device
        self._silence, self._unanswered, self._silent = silence, 0, 0.0
        self.free_bytes: int | None = None
        """Bytes of memory that it may use on its node, if it reported them."""
        self.sharing = 1
        """How many such workers its node has room for."""
        self.fault = ""
        """The error of its device or node, if that ended it."""

    async def next_event(self) -> AnyEvent | None:
        """Return the next event of the worker; None once it is gone."""
        while line := await self.link.receive():
            self._unanswered = 0
            with contextlib.suppress(msgspec.MsgspecError):
                return journal.decode(line)
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
        """
        left = set(orders.awaited(order))
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
                heard(event)
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
        if self._silent:
            how = f"killed after {self._silent:g} s without an answer"
        last = await self.link.last_lines()
        return f"the worker was {how}" + (f"; its log ends: {' | '.join(last)}" if last else "")

    async def end_if_silent(self, patience: float) -> None:
        """Ping the worker regularly, and kill it if it does not answer for `patience` seconds.

        Pings are counted, not seconds, so that a machine or a conductor that slept loses no worker.
        """
        self._unanswered = 0
        while self._unanswered < PINGS:
            await self.order(orders.Ping())
            await asyncio.sleep(patience / PINGS)
            self._unanswered += not self.link.busy
        self._silent = patience
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
            DiedAtStart: it was killed before it was ready.
            MachineProblem: it could not use the device.
        """
        member = WorkerHandle(await self._start(number), number, device, self._silence)
        self._members[number] = member
        watching = asyncio.create_task(member.end_if_silent(START_PATIENCE * self._silence))
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
        killed = (member.link.exit_code or 0) < 0
        problem = DiedAtStart if killed else MachineProblem
        raise problem(f"a worker could not be started: {words}")

    async def _start_here(self, number: int) -> Link:
        """Start a worker as a child process that inherits the lock."""
        log = self._folder / f"worker-{number}.log"
        with open(log, "ab") as errors:
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
