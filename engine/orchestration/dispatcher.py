"""Keeps workers busy: group after group for each, and another worker where one dies."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import cycle, islice

import msgspec

from batchscope.engine.analysis.interpolation_lines import Pair
from batchscope.engine.data.prepared import Prepared
from batchscope.engine.devices.devices import Device, cores
from batchscope.engine.errors import MachineProblem
from batchscope.engine.journal.events import AnyEvent, TrialEnded, TrialStatus
from batchscope.engine.orchestration.control import Control
from batchscope.engine.orchestration.costs import Costs
from batchscope.engine.orchestration.crew import Crew, DiedAtStart, WorkerHandle
from batchscope.engine.orchestration.interpolation_jobs import InterpolationJobs
from batchscope.engine.orchestration.journal_writer import JournalWriter
from batchscope.engine.orchestration.placement import Placement
from batchscope.engine.orchestration.planner import Planner, PlanningTask, Rest
from batchscope.engine.orchestration.retry_policy import MOST_TRIALS, RETRIES, Deaths, Service
from batchscope.engine.orchestration.trial_queue import Group, TrialQueue
from batchscope.engine.processes import orders
from batchscope.engine.spec import Trial

SKIPPED = "skipped on request"
IDLE_SECONDS = 5.0


def places_for(
    devices: list[Device], left: int, asked: int | None, alone: bool, parallel: int = 1
) -> list[Placement]:
    """A place for each worker, given the trials `left` and the number of workers `asked` for.

    A GPU has one worker. On a CPU there is one a core, since a network this small gains nothing
    from a second thread; the threads left over by few trials are shared out. Where epochs are
    timed `alone`, there is one worker in all.

    Where trials are trained by up to `parallel` workers together, a place is a bundle of as many
    GPUs, or cores, each of which has as many threads as one that trains by itself.
    """
    if devices[0].handle is not None:
        bundles = bundled(devices, parallel)
        count = max(1, min(asked or len(bundles), left))
        taken = [bundles[index % len(bundles)] for index in range(count)][: 1 if alone else None]
        return [
            Placement(
                bundle[0],
                taken.count(bundle) * bundle.count(bundle[0]),
                1,
                team=bundle if parallel > 1 else (),
            )
            for bundle in taken
        ]
    seats = max(1, cores() // parallel)
    count = 1 if alone else max(1, min(asked or seats, left))
    processes = count * parallel
    team = tuple(devices[:1] * parallel) if parallel > 1 else ()
    threads = max(1, cores() // processes)
    return [Placement(device, processes, threads, team=team) for device in devices] * count


def bundled(devices: Sequence[Device], parallel: int) -> list[tuple[Device, ...]]:
    """Bundles of so many GPUs; those beyond the last whole one stay idle.

    Where there are fewer than that, all are one bundle, in which they come again in turn.
    """
    whole = [
        tuple(devices[start : start + parallel])
        for start in range(0, len(devices) - parallel + 1, parallel)
    ]
    return whole or [tuple(islice(cycle(devices), parallel))]


def crowded(devices: Sequence[Device], parallel: int) -> str | None:
    """What to say where workers of one trial have to share a card or a core; None where not."""
    of, what = (len(devices), "GPUs") if devices[0].handle is not None else (cores(), "cores")
    if parallel <= of:
        return None
    return (
        f"run.data_parallel = {parallel} on {of} {what}: the workers share them, so times say "
        f"nothing about {parallel} {what}"
    )


async def hire(crew: Crew, number: int, place: Placement) -> WorkerHandle:
    """Have a worker for a place; raises what `Crew.hire` does."""
    device = place.device
    words = number, device.name, place.threads, device.handle or ""
    return await (crew.hire(*words, team_of(place)) if place.team else crew.hire(*words))


def team_of(place: Placement) -> orders.TeamSpec:
    """Those who train the trials of a place, which their first worker starts by itself."""
    cards = {device.handle or device.name for device in place.team}
    apart = place.has_gpu and len(cards) == len(place.team)
    return orders.TeamSpec(devices=tuple(device.name for device in place.team), apart=apart)


class Dispatcher:
    """Hands the groups of a queue to workers until none is left, as `control` allows.

    A line between two solutions is drawn as soon as both are there, before the next group.

    `listen` is called before the last worker leaves: somebody may just have asked for more.
    """

    def __init__(
        self,
        ledger: JournalWriter,
        queue: TrialQueue,
        data: Mapping[str, Prepared],
        control: Control,
        listen: Callable[[], None],
        limit: int | None,
    ) -> None:
        self._ledger, self._queue, self._data = ledger, queue, data
        self._control, self._listen = control, listen
        self._deaths, self._service = Deaths(), Service()
        self._planner = Planner(
            ledger.state, self._heard, control, limit, Costs(ledger.state, data)
        )
        self._in_hand: dict[int, Group] = {}
        self._linker = InterpolationJobs(ledger, data, control)

    @property
    def linker(self) -> InterpolationJobs:
        """The lines that are left."""
        return self._linker

    def waiting(self) -> int:
        """How many groups and lines wait for a worker."""
        return len(self._queue.groups()) + len(self._linker.free())

    def busy(self) -> int:
        """How many workers have something in hand."""
        return len(self._in_hand)

    async def serve(
        self,
        crew: Crew,
        number: int,
        first: "asyncio.Task[WorkerHandle]",
        place: Placement,
        once: bool = False,
    ) -> MachineProblem | None:
        """Give one worker trial after trial, and replace it where it dies.

        One that serves only `once` is not replaced, and leaves where there is nothing for it to do:
        whoever hired it has others. Returns why no worker could be had for this place, if none
        could: then the others go on.
        """
        self._service.join(place.key)
        try:
            if once:
                return await self._serve_once(number, first, place)
            return await self._serve(crew, number, first, place)
        finally:
            self._service.leave(place.key)
            self._control.tell()  # who waited for this device to take a trial need not any more

    async def _serve_once(
        self, number: int, hiring: "asyncio.Task[WorkerHandle]", place: Placement
    ) -> MachineProblem | None:
        try:
            member = await hiring
        except MachineProblem as problem:
            self._ledger.lost(number, str(problem))
            return problem
        sharing = max(place.workers, member.sharing)
        place = replace(place, free_bytes=member.free_bytes, workers=sharing)
        await self._keep_busy(member, place, IDLE_SECONDS)
        return None

    async def _serve(
        self, crew: Crew, number: int, first: "asyncio.Task[WorkerHandle]", place: Placement
    ) -> MachineProblem | None:
        hiring = first
        while True:
            try:
                member = await hiring
                self._deaths.forget(f"place {number}")
                place = replace(place, free_bytes=member.free_bytes)
                if await self._keep_busy(member, place):
                    return None
            except MachineProblem as problem:
                self._ledger.lost(number, str(problem))
                wait = self._deaths.another(f"place {number}", 0)
                if wait is None or not isinstance(problem, DiedAtStart):
                    return problem
                await asyncio.sleep(wait)
            if self._service.useless(place.key):
                lost = f"{place.device.name} is out of service: it failed over {MOST_TRIALS} trials"
                self._ledger.lost(number, lost)
                return MachineProblem(lost)
            if not (self._queue or self._linker) or self._control.stopping:
                return None
            hiring = asyncio.create_task(hire(crew, number, place))

    async def _keep_busy(
        self, member: WorkerHandle, place: Placement, patience: float | None = None
    ) -> bool:
        """Give a worker groups until none is left or it should stop; False if it was lost.

        With `patience` it waits for one no longer than that.
        """
        while (work := await self._next_within(patience, place.key)) is not None:
            try:
                if not isinstance(work, Group):
                    if not await self._linker.draw(member, work):
                        return False
                elif not await self._attempt(member, place, work):
                    return False
            finally:
                self._in_hand.pop(member.number, None)
                self._control.tell()
        return True

    def _heard(self, event: AnyEvent) -> None:
        """Write down what a worker states, or how a trial ends that nobody wants any more."""
        if isinstance(event, TrialEnded) and event.trial in self._control.unwanted:
            self._control.unwanted.discard(event.trial)
            if event.status in ("stopped", "failed"):
                event = msgspec.structs.replace(event, status="skipped", reason=SKIPPED)
        self._ledger.heard(event)

    async def _next_within(self, seconds: float | None, device: str) -> Group | Pair | None:
        try:
            async with asyncio.timeout(seconds):
                return await self._next(device)
        except TimeoutError:
            return None

    async def _next(self, device: str) -> Group | Pair | None:
        """The next group or line for a device as soon as it may begin; None once there is none."""
        async for _ in self._control.changes():
            if not self._queue and not self._in_hand:
                self._listen()
            if self._control.stopping:
                return None
            if not self._control.paused and (pair := self._linker.take()):
                return pair
            if self._queue and not self._control.paused:
                group = self._queue.take(lambda key: self._service.may(device, key))
                if group:
                    return group
            if not self._queue and not self._in_hand and not self._linker:
                return None
        return None

    async def _may_begin(self, group: Group) -> None:
        """Wait for the end of a pause, unless the group is to end anyway."""
        async for _ in self._control.changes():
            if not self._control.paused or all(self._control.ends(t.id) for t in group.trials):
                return

    async def _attempt(self, member: WorkerHandle, place: Placement, taken: Group) -> bool:
        """Have a worker plan and train a group; False if the worker was lost over it."""
        group: Group | None = taken
        lost = None
        if taken.plan is None:
            self._in_hand[member.number] = taken
            lost = await self._plan(member, place, taken)
            if lost is None:
                group = self._queue.settled(taken)
                self._control.tell()
        if lost is None and group is not None:
            self._in_hand[member.number] = group
            lost = await self._train(member, group)
        if lost is None:
            if group is not None:
                self._queue.give_back(group)
            self._service.went_well(place.key, (group or taken).key)
            return True
        assert group is not None
        if member.fault:
            self._service.failed(place.key, group.key)
        self._ledger.lost(member.number, lost)
        await self._after_death(group, lost, bool(member.fault), not place.name)
        return False

    async def _plan(self, member: WorkerHandle, place: Placement, group: Group) -> str | None:
        """Have plans made for the trials of a group; why the worker was lost, if it was."""
        attempt = self._ledger.next_attempt(group.key, *(trial.id for trial in group.trials))
        data = self._data[group.trials[0].settings.data.name]
        task = PlanningTask(member, place, group.trials, attempt, data)
        lost = await self._planner.settle(task, lambda: self._rest(member.number))
        if lost is None:
            self._end_unwanted(group, attempt)
        return lost

    async def _train(self, member: WorkerHandle, group: Group) -> str | None:
        """Have a group with a plan trained; why the worker was lost, if it was."""
        assert group.plan is not None
        attempt = self._ledger.next_attempt(group.key, *(trial.id for trial in group.trials))
        await self._may_begin(group)
        self._end_unwanted(group, attempt)
        active = tuple(trial.id for trial in self._left(group))
        if not active:
            return None
        order = orders.TrainOrder(
            members=self._queue.members(group.plan),
            active=active,
            plan=group.plan,
            attempt=attempt,
            data=self._data[group.trials[0].settings.data.name],
            checkpoints=str(self._ledger.kept_in(group.key)),
            weights=self._linker.weights_of(active),
        )
        return await member.work(order, self._heard, self._control)

    def _left(self, group: Group) -> list[Trial]:
        """The trials of a group that have not ended, and that it does not go on without."""
        state = self._ledger.state
        left = [t for t in group.trials if state.trials[t.id].status in ("queued", "running")]
        return [t for t in left if group.plan is None or state.job_of(t.id) == group.key]

    def _end_unwanted(self, group: Group, attempt: int) -> None:
        """End those trials of a group that nobody wants any more."""
        for trial in self._left(group):
            if trial.id in self._control.unwanted:
                self._heard(TrialEnded(trial=trial.id, attempt=attempt, status="stopped"))

    def _rest(self, number: int) -> Rest:
        """What the sweep has beside what a worker has in hand."""
        busy = [
            self._queue.seconds(group) * (1 - self._fraction(group))
            for other, group in self._in_hand.items()
            if other != number
        ]
        return Rest(self._queue.workers, self._queue.waiting(), busy)

    def _fraction(self, group: Group) -> float:
        """How far those of a group are that have not ended."""
        trials = self._ledger.state.trials
        return max((trials[trial.id].fraction for trial in self._left(group)), default=1.0)

    async def _after_death(
        self, group: Group, lost: str, device_failed: bool, known: bool = True
    ) -> None:
        """Have a group over which a worker was lost tried again, or end it after too many.

        A device that failed is no fault of the group, as long as another may have it; where places
        come and go, none is `known` by its failures, and each counts.
        """
        wait: float | None = 0.0
        if not (device_failed and known and self._service.elsewhere(group.key)):
            wait = self._deaths.another(group.key, self._ledger.kept_steps(group.key))
        for trial in self._left(group):
            if self._control.ends(trial.id):
                self._end(trial, "stopped", lost)
            elif wait is None:
                self._end(trial, "failed", f"{lost} (after {RETRIES} retries)")
        if wait is None or not self._left(group):
            self._deaths.forget(group.key)  # whoever asks for it again means it
            self._queue.give_back(group)
            return
        self._queue.put_back(group)
        self._control.tell()
        await asyncio.sleep(wait)

    def _end(self, trial: Trial, status: TrialStatus, reason: str) -> None:
        """Write down the end of the attempt that last began: its figures stay."""
        attempt = max(1, self._ledger.state.trials[trial.id].attempt)
        end = TrialEnded(trial=trial.id, attempt=attempt, status=status, reason=reason)
        self._heard(end)
