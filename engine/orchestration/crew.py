"""The conductor's workers: hiring, giving orders, listening, dismissing."""

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
START_PATIENCE = 5  # times as long: nothing answers while a library is read from a slow disk

Heard = Callable[[AnyEvent], None]
Start = Callable[[int], Awaitable[Link]]
"""Has a worker of that number started, somewhere."""


class DiedAtStart(MachineProblem):
    """A worker was killed while it started: the next may fare better."""


class WorkerHandle:
    """One worker."""

    def __init__(self, link: Link, number: int, device: str, silence: float) -> None:
        self.link, self.number, self.device = link, number, device
        self._silence, self._unanswered, self._silent = silence, 0, 0.0
        self.free_bytes: int | None = None
        """What it may take of the memory where it runs, if it said so."""
        self.sharing = 1
        """How many like it there is room for where it runs."""
        self.fault = ""
        """What its device did, if that is why it ended."""

    async def next_event(self) -> AnyEvent | None:
        """The next fact it states; None once it is gone."""
        while line := await self.link.receive():
            self._unanswered = 0
            with contextlib.suppress(msgspec.MsgspecError):
                return journal.decode(line)
        return None

    async def order(self, order: orders.AnyOrder) -> None:
        """Send an order; a worker that is gone is noticed by whoever listens to it."""
        await self.link.send(order)

    async def work(self, order: orders.Work, heard: Heard, control: Control) -> str | None:
        """Have a group measured or trained; None once that ended, or why the worker was lost."""
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
        """Wait until it has ended by itself, or end it."""
        try:
            await asyncio.wait_for(self.link.wait(), DISMISSAL_SECONDS)
        except TimeoutError:
            self.link.kill()
            await self.link.wait()

    async def last_words(self) -> str:
        """How a worker that is gone ended, with the end of its log."""
        code = await self.link.wait()
        self.fault = self.fault or self.link.fault
        if self.fault:
            return self.fault
        how = f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        if self._silent:
            how = f"silent for {self._silent:g} s and therefore killed"
        last = await self.link.last_lines()
        return f"the worker was {how}" + (f"; its log ends: {' | '.join(last)}" if last else "")

    async def end_if_silent(self, patience: float) -> None:
        """Ask it again and again whether it is there, and kill it where no answer comes.

        Rounds are counted, not seconds: a machine or a conductor that slept has missed none.
        """
        self._unanswered = 0
        while self._unanswered < PINGS:
            await self.order(orders.Ping())
            await asyncio.sleep(patience / PINGS)
            self._unanswered += not self.link.busy
        self._silent = patience
        self.link.kill()

    async def _attend(self, left: AbstractSet[str], control: Control) -> None:
        """Pass on what people ask for while the worker has trials in hand, those `left`."""
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
    """The workers of one conductor; each holds the sweep's lock, inherited or handed over.

    Those that wait in the reserve are taken first. Where `start` is given, it starts workers
    instead, elsewhere than below this process.
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
        """Process ids of the workers that were hired and not yet dismissed."""
        return [pid for member in self._members.values() if (pid := member.link.pid) is not None]

    async def hire(
        self,
        number: int,
        device: str,
        threads: int,
        card: str = "",
        team: orders.TeamSpec = orders.TeamSpec(),  # noqa: B008 (it is frozen)
    ) -> WorkerHandle:
        """Start a worker and wait until it is ready; `card` is the UUID of a GPU.

        Raises:
            DiedAtStart: it was killed before it was ready.
            MachineProblem: it could not take the device.
        """
        member = WorkerHandle(await self._start(number), number, device, self._silence)
        self._members[number] = member
        watching = asyncio.create_task(member.end_if_silent(START_PATIENCE * self._silence))
        try:
            await member.order(orders.Setup(number, device, threads, card, team=team))
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
        raise problem(f"no worker could be started: {words}")

    async def _start_here(self, number: int) -> Link:
        """A child of this process, that inherits the lock."""
        log = self._folder / f"worker-{number}.log"
        with open(log, "ab") as errors:
            waiting = self._reserve.take(self._lock, errors.fileno())
            process = waiting or await start_worker(errors, self._lock)
        return ProcessLink(process, log)

    def give_up(self, device: str, why: str) -> None:
        """End the workers of a device that is gone: they might wait for it for ever."""
        for member in self._members.values():
            if member.device == device and member.link.exit_code is None:
                member.fault = f"{device}: {why}"
                member.link.kill()

    async def let_go(self, number: int) -> None:
        """End a worker that nobody needs."""
        member = self._members.pop(number, None)
        if member is not None:
            member.link.close()
            await member.end()

    async def dismiss(self) -> None:
        """End every worker: by the end of its stdin, then by force."""
        for member in self._members.values():
            member.link.close()
        for member in self._members.values():
            await member.end()
        self._members.clear()
