"""Keeps workers busy: trial after trial for each, and another worker where one dies."""

import asyncio
from collections.abc import Callable, Mapping

import msgspec

from engine import orders
from engine.control import Control
from engine.crew import Crew, DiedAtStart, Member
from engine.devices import Device, cores
from engine.events import AnyEvent, TrialEnded, TrialStatus
from engine.faulty import MOST_TRIALS, Service
from engine.ledger import Ledger
from engine.planning import Place, Planner
from engine.prepared import Prepared
from engine.problems import MachineProblem
from engine.queueing import TrialQueue
from engine.retrying import RETRIES, Deaths
from engine.spec import Trial

SKIPPED = "skipped on request"


def places_for(devices: list[Device], left: int, asked: int | None, alone: bool) -> list[Place]:
    """A place for each worker, given the trials `left` and the number of workers `asked` for.

    A GPU has one worker. On a CPU there is one a core, since a network this small gains nothing
    from a second thread; the threads left over by few trials are shared out. Where epochs are
    timed `alone`, there is one worker in all.
    """
    if devices[0].handle is not None:
        count = max(1, min(asked or len(devices), left))
        taken = [devices[index % len(devices)] for index in range(count)][: 1 if alone else None]
        return [Place(device, taken.count(device), 1) for device in taken]
    count = 1 if alone else max(1, min(asked or cores(), left))
    return [Place(device, count, max(1, cores() // count)) for device in devices * count]


async def hire(crew: Crew, number: int, place: Place) -> Member:
    """Have a worker for a place; raises what `Crew.hire` does."""
    device = place.device
    return await crew.hire(number, device.name, place.threads, device.handle or "")


class Server:
    """Hands the trials of a queue to workers until none is left, as `control` allows.

    `listen` is called before the last worker leaves: somebody may just have asked for more.
    """

    def __init__(
        self,
        ledger: Ledger,
        queue: TrialQueue,
        data: Mapping[str, Prepared],
        control: Control,
        listen: Callable[[], None],
        limit: int | None,
    ) -> None:
        self._ledger, self._queue, self._data = ledger, queue, data
        self._control, self._listen = control, listen
        self._deaths, self._service = Deaths(), Service()
        self._planner = Planner(ledger.state, self._heard, control, limit)
        self._busy = 0

    async def serve(
        self, crew: Crew, number: int, first: "asyncio.Task[Member]", place: Place
    ) -> MachineProblem | None:
        """Give one worker trial after trial, and replace it where it dies.

        Returns why no worker could be had for this place, if none could: then the others go on.
        """
        self._service.join(place.device.name)
        try:
            return await self._serve(crew, number, first, place)
        finally:
            self._service.leave(place.device.name)
            self._control.tell()  # who waited for this device to take a trial need not any more

    async def _serve(
        self, crew: Crew, number: int, first: "asyncio.Task[Member]", place: Place
    ) -> MachineProblem | None:
        hiring = first
        while True:
            try:
                member = await hiring
                self._deaths.forget(f"place {number}")
                if await self._keep_busy(member, place):
                    return None
            except MachineProblem as problem:
                self._ledger.lost(number, str(problem))
                wait = self._deaths.another(f"place {number}", 0)
                if wait is None or not isinstance(problem, DiedAtStart):
                    return problem
                await asyncio.sleep(wait)
            if self._service.useless(place.device.name):
                told = f"{place.device.name} is out of service: it failed over {MOST_TRIALS} trials"
                self._ledger.lost(number, told)
                return MachineProblem(told)
            if not self._queue or self._control.stopping:
                return None
            hiring = asyncio.create_task(hire(crew, number, place))

    async def _keep_busy(self, member: Member, place: Place) -> bool:
        """Give a worker trials until none is left or it should stop; False if it was lost."""
        while (trial := await self._next(place.device.name)) is not None:
            self._busy += 1
            try:
                if not await self._attempt(member, place, trial):
                    return False
            finally:
                self._busy -= 1
                self._control.tell()
        return True

    def _heard(self, event: AnyEvent) -> None:
        """Write down what a worker states, or how a trial ends that nobody wants any more."""
        if isinstance(event, TrialEnded) and event.trial in self._control.unwanted:
            self._control.unwanted.discard(event.trial)
            if event.status in ("stopped", "failed"):
                event = msgspec.structs.replace(event, status="skipped", reason=SKIPPED)
        self._ledger.heard(event)

    async def _next(self, device: str) -> Trial | None:
        """The next trial for a device as soon as it may begin; None once there will be none."""
        async for _ in self._control.changes():
            if not self._queue and not self._busy:
                self._listen()
            if self._control.stopping:
                return None
            if self._queue and not self._control.paused:
                trial = self._queue.take(lambda name: self._service.may(device, name))
                if trial:
                    return trial
            if not self._queue and not self._busy:
                return None
        return None

    async def _may_begin(self, trial: Trial) -> None:
        """Wait for the end of a pause, unless the trial is to end anyway."""
        async for _ in self._control.changes():
            if not self._control.paused or self._control.ends(trial.id):
                return

    async def _attempt(self, member: Member, place: Place, trial: Trial) -> bool:
        """Have a worker plan and train a trial; False if the worker was lost over it."""
        state, heard = self._ledger.state, self._heard
        attempt = self._ledger.next_attempt(trial.id)
        data = self._data[trial.settings.data.name]
        lost = await self._planner.settle(member, place, trial, attempt, data)
        await self._may_begin(trial)
        if lost is None and trial.id in self._control.unwanted:
            heard(TrialEnded(trial=trial.id, attempt=attempt, status="stopped"))
        elif lost is None and trial.id in state.plans:
            folder = str(self._ledger.checkpoints_of(trial.id))
            plan = state.plans[trial.id]
            order = orders.Train((trial,), (trial.id,), plan, attempt, data, folder)
            lost = await member.work(order, heard, self._control)
        if lost is None:
            self._queue.give_back(trial.id)
            self._service.went_well(place.device.name, trial.id)
            return True
        if member.fault:
            self._service.failed(place.device.name, trial.id)
        self._ledger.lost(member.number, lost)
        await self._after_death(trial, lost, bool(member.fault))
        return False

    async def _after_death(self, trial: Trial, lost: str, device_failed: bool) -> None:
        """Have a trial over which a worker was lost tried again, or end it after too many.

        A device that failed is no fault of the trial, as long as another may have it.
        """
        wait: float | None = 0.0
        if not (device_failed and self._service.elsewhere(trial.id)):
            wait = self._deaths.another(trial.id, self._ledger.kept_steps(trial.id))
        if self._control.ends(trial.id):
            self._end(trial, "stopped", lost)
        elif wait is None:
            self._end(trial, "failed", f"{lost} (after {RETRIES} retries)")
        else:
            self._queue.put_back(trial)
            self._control.tell()
            await asyncio.sleep(wait)

    def _end(self, trial: Trial, status: TrialStatus, reason: str) -> None:
        """Write down the end of the attempt that last began: its figures stay."""
        attempt = max(1, self._ledger.state.trials[trial.id].attempt)
        end = TrialEnded(trial=trial.id, attempt=attempt, status=status, reason=reason)
        self._heard(end)
        self._queue.give_back(trial.id)
        self._deaths.forget(trial.id)  # whoever asks for it again means it
