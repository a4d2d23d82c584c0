"""Keeps as many workers on a cluster as it has room for, while it grows and shrinks.

As long as trials wait, one worker more is requested than there is room for. So Ray knows that more
nodes could be used, and a node that joins gets a worker at once.
"""

import asyncio
import time
from typing import Protocol

from batchscope.engine.cluster.ray_cluster import Needs
from batchscope.engine.devices.devices import Device
from batchscope.engine.errors import MachineProblem
from batchscope.engine.journal import events as ev
from batchscope.engine.orchestration.control import Control
from batchscope.engine.orchestration.crew import (
    HALT_PATIENCE_SECONDS,
    Crew,
    DiedAtStart,
    WorkerHandle,
)
from batchscope.engine.orchestration.dispatcher import Dispatcher, hire
from batchscope.engine.orchestration.journal_writer import JournalWriter
from batchscope.engine.orchestration.placement import Placement
from batchscope.engine.orchestration.trial_queue import TrialQueue

LOOK_SECONDS = 1.0
ANSWER_SECONDS = 5.0
PATIENCE_SECONDS = 2.0
"""How long to wait for a worker before the log says so."""
LONGEST_WAIT = 30.0
NOT_NEEDED = "no more work"
MOST_PROBLEMS, MOST_DEATHS = 3, 20
"""Failed starts in a row after which the sweep gives up: lasting problems, deaths at start."""


class Room(Protocol):
    """The part of a cluster that `Recruiter` uses."""

    needs: Needs

    def slots(self) -> int:
        """Return how many workers there is room for, busy ones included."""


def place_on(room: Room, number: int, parallel: int = 1) -> Placement:
    """Return a separate placement for each worker, so that failures are counted separately."""
    share = 1.0 if parallel > 1 else room.needs.amount
    gpu, title = room.needs.resource == "GPU", f"a {room.needs.resource} of the cluster"
    team = tuple(Device(f"cuda:{n}" if gpu else "cpu", title) for n in range(parallel))
    return Placement(
        team[0],
        max(1, round(1 / share)) if gpu else 1,
        1,
        name=f"worker {number}",
        on_gpu=gpu,
        team=team if parallel > 1 else (),
    )


class Recruiter:
    """Starts workers on a cluster as long as there is work for them.

    Args:
        ledger: the journal.
        queue: the trials that wait.
        server: hands groups of trials to the workers.
        crew: starts the workers.
        room: the cluster.
        most: the most workers at once; None without a limit.
        control: the stops and pauses of the sweep.
        parallel: the most workers that train one trial together.
    """

    def __init__(
        self,
        ledger: JournalWriter,
        queue: TrialQueue,
        server: Dispatcher,
        crew: Crew,
        room: Room,
        most: int | None,
        control: Control,
        parallel: int = 1,
    ) -> None:
        self._control, self._parallel = control, parallel
        self._ledger, self._queue, self._server = ledger, queue, server
        self._crew, self._room = crew, room
        self._most = most
        self._places: dict[int, asyncio.Task[MachineProblem | None]] = {}
        self._next, self._problems = 0, list[MachineProblem]()
        self._serving, self._not_before = set[int](), 0.0
        self._looking: asyncio.Task[int] | None = None
        self._known_slots = 0

    async def run(self) -> list[MachineProblem]:
        """Run until no work is left or no worker can be started; return the last problems."""
        try:
            while not self._control.stopping:
                await self._fill()
                if not self._places and not self._waits():
                    break
                await self._look()
                self._take_stock()
                if self._hopeless():
                    break
            await self._leave()
        finally:
            for task in self._places.values():
                task.cancel()
            await asyncio.gather(*self._places.values(), return_exceptions=True)
        return self._problems

    async def _look(self) -> None:
        """Wait until a worker has ended, or until it is time to look at the cluster again."""
        if not self._places:
            await asyncio.sleep(LOOK_SECONDS)
            return
        await asyncio.wait(
            self._places.values(), timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )

    async def _leave(self) -> None:
        """Give the workers time to end after a stop."""
        serving = [self._places[number] for number in self._serving & self._places.keys()]
        if serving:
            await asyncio.wait(serving, timeout=HALT_PATIENCE_SECONDS + LOOK_SECONDS)

    def _waits(self) -> bool:
        """Return whether work is left but no worker may be started now."""
        held = self._control.paused or time.monotonic() < self._not_before
        return held and bool(self._server.waiting())

    async def _fill(self) -> None:
        if self._control.paused or time.monotonic() < self._not_before:
            return
        load = self._server.waiting() + self._server.busy()
        if load <= len(self._places):
            return
        room = await self._slots() + 1
        wanted = min(load, room, self._most or room)
        self._queue.workers = max(1, min(wanted, room - 1))
        while len(self._places) < wanted:
            number, self._next = self._next, self._next + 1
            self._places[number] = asyncio.create_task(self._serve(number))

    async def _slots(self) -> int:
        """Return the number of workers with room; the last known one if the cluster is slow."""
        self._looking = self._looking or asyncio.create_task(asyncio.to_thread(self._room.slots))
        await asyncio.wait({self._looking}, timeout=ANSWER_SECONDS)
        if self._looking.done():
            looking, self._looking = self._looking, None
            self._known_slots = looking.result()
        return self._known_slots

    def _take_stock(self) -> None:
        for number, task in list(self._places.items()):
            if task.done():
                del self._places[number]
                self._serving.discard(number)
                problem = task.result()
                self._problems = [*self._problems, problem] if problem else []
                if problem:  # another attempt at once would fail in the same way
                    wait = min(LONGEST_WAIT, LOOK_SECONDS * 2 ** len(self._problems))
                    self._not_before = time.monotonic() + wait

    def _hopeless(self) -> bool:
        """Return whether no worker runs and too many starts in a row have failed.

        One bad node does not end the sweep while other workers run.
        """
        if self._serving:
            return False
        lasting = sum(not isinstance(each, DiedAtStart) for each in self._problems)
        return lasting >= MOST_PROBLEMS or len(self._problems) >= MOST_DEATHS

    async def _serve(self, number: int) -> MachineProblem | None:
        """Start one worker and assign groups to it until it ends."""
        place = place_on(self._room, number, self._parallel)
        hiring = asyncio.create_task(hire(self._crew, number, place))
        try:
            if await self._placed(number, hiring):
                if not hiring.cancelled() and not hiring.exception():
                    self._serving.add(number)
                return await self._server.serve(self._crew, number, hiring, place, once=True)
            return None
        finally:
            hiring.cancel()
            await asyncio.wait({hiring})
            await self._crew.let_go(number)
            state = self._ledger.state
            if number in state.workers or number in state.awaited:
                self._ledger.write(ev.WorkerDismissed(worker=number, reason=NOT_NEEDED))

    async def _placed(self, number: int, hiring: "asyncio.Task[WorkerHandle]") -> bool:
        """Wait for a worker to start; return False if no work is left for it."""
        waited = 0.0
        while not hiring.done():
            await asyncio.wait({hiring}, timeout=LOOK_SECONDS)
            waited += LOOK_SECONDS
            if hiring.done():
                break
            if not self._server.waiting():
                return False
            if waited >= PATIENCE_SECONDS and number not in self._ledger.state.awaited:
                needs = self._room.needs.text
                self._ledger.write(ev.WorkerAwaited(worker=number, needs=needs))
        return True
