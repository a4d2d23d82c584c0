"""Assigns groups of trials to workers one by one, and replaces workers that die."""

import asyncio
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import replace
from itertools import cycle, islice

import msgspec

from batchscope.engine.analysis.interpolation_lines import Pair
from batchscope.engine.data.prepared import Prepared
from batchscope.engine.devices.devices import Device, cores
from batchscope.engine.errors import MachineProblem
from batchscope.engine.journal.events import AnyEvent, CodeLoaded, Note, TrialEnded, TrialStatus
from batchscope.engine.metrics.reached_rate import short_of_rate
from batchscope.engine.orchestration.control import Control
from batchscope.engine.orchestration.costs import Costs
from batchscope.engine.orchestration.crew import Crew, DiedAtStart, Scarce, WorkerHandle
from batchscope.engine.orchestration.interpolation_jobs import InterpolationJobs
from batchscope.engine.orchestration.journal_writer import JournalWriter
from batchscope.engine.orchestration.placement import Placement
from batchscope.engine.orchestration.planner import Planner, PlanningTask, Rest
from batchscope.engine.orchestration.retry_policy import (
    MOST_TRIALS,
    PATIENT_RETRIES,
    RETRIES,
    Deaths,
    Service,
)
from batchscope.engine.orchestration.trial_queue import Group, TrialQueue
from batchscope.engine.processes import orders
from batchscope.engine.spec import Trial
from batchscope.engine.system.scarcity import tells_of_scarcity
from batchscope.engine.tasks.code_digests import code_changed

SKIPPED = "skipped by you"
IDLE_SECONDS = 5.0


def places_for(
    devices: list[Device], left: int, asked: int | None, alone: bool, parallel: int = 1
) -> list[Placement]:
    """Return the placement of each worker.

    Each GPU gets one worker. A CPU gets one worker per core, since small networks gain nothing
    from a second thread. If there are fewer trials than cores, each worker gets more threads.

    Args:
        devices: the devices to train on.
        left: the number of trials that are not finished.
        asked: the number of workers that the user set; None to choose it here.
        alone: whether epochs are timed alone, so that there is a single worker.
        parallel: the most workers that train one trial together. A placement then covers as many
            GPUs or cores, each with the threads of a worker that trains alone.
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
    """Divide GPUs into bundles of `parallel` each; GPUs that fill no whole bundle stay idle.

    If there are fewer GPUs than `parallel`, return one bundle that repeats them in turn.
    """
    whole = [
        tuple(devices[start : start + parallel])
        for start in range(0, len(devices) - parallel + 1, parallel)
    ]
    return whole or [tuple(islice(cycle(devices), parallel))]


def crowded(devices: Sequence[Device], parallel: int) -> str | None:
    """Return a warning if workers of one trial must share a GPU or a core, else None."""
    of, what = (len(devices), "GPUs") if devices[0].handle is not None else (cores(), "cores")
    if parallel <= of:
        return None
    return (
        f"run.data_parallel = {parallel} on {of} {what}: the workers share them, so the times do "
        f"not show how fast {parallel} {what} would be"
    )


async def hire(crew: Crew, number: int, place: Placement) -> WorkerHandle:
    """Start a worker for a placement; raises what `Crew.hire` raises."""
    device = place.device
    words = number, device.name, place.threads, device.handle or ""
    return await (crew.hire(*words, team_of(place)) if place.team else crew.hire(*words))


def team_of(place: Placement) -> orders.TeamSpec:
    """Return the team that trains the trials of a placement; its first worker starts the others."""
    cards = {device.handle or device.name for device in place.team}
    apart = place.has_gpu and len(cards) == len(place.team)
    return orders.TeamSpec(devices=tuple(device.name for device in place.team), apart=apart)


class Dispatcher:
    """Hands the groups of a queue to workers until none is left, a stop or a pause.

    The line between two solutions is measured as soon as both exist, before the next group.

    `listen` is called before the last worker leaves, since a command may just have added trials.
    """

    def __init__(
        self,
        ledger: JournalWriter,
        queue: TrialQueue,
        data: MutableMapping[str, Prepared],
        control: Control,
        listen: Callable[[], None],
        limit: int | None,
    ) -> None:
        self._ledger, self._queue, self._data = ledger, queue, data
        self._control, self._listen = control, listen
        self._deaths, self._service = Deaths(), Service()
        self._lacks = Deaths(PATIENT_RETRIES)
        self._planner = Planner(
            ledger.state, self._heard, control, limit, Costs(ledger.state, data)
        )
        self._in_hand: dict[int, Group] = {}
        self._short: set[str] = set()
        self._linker = InterpolationJobs(ledger, data, control)

    @property
    def linker(self) -> InterpolationJobs:
        """The lines between solutions that are still to be measured."""
        return self._linker

    def waiting(self) -> int:
        """Return the number of groups and lines that wait for a worker."""
        return len(self._queue.groups()) + len(self._linker.free())

    def busy(self) -> int:
        """Return the number of workers that have a group."""
        return len(self._in_hand)

    async def serve(
        self,
        crew: Crew,
        number: int,
        first: "asyncio.Task[WorkerHandle]",
        place: Placement,
        once: bool = False,
    ) -> MachineProblem | None:
        """Assign one group after another to a worker, and replace the worker if it dies.

        Args:
            crew: starts the replacements.
            number: the worker's number.
            first: the task that starts the first worker.
            place: where the worker runs.
            once: do not replace the worker, and let it end when it has had no work for
                `IDLE_SECONDS`; the caller hires others.

        Returns:
            The problem if no worker could be started here; the other workers continue.
        """
        self._service.join(place.key)
        try:
            if once:
                return await self._serve_once(number, first, place)
            return await self._serve(crew, number, first, place)
        finally:
            self._service.leave(place.key)
            self._control.notify()  # a group may have waited for this device

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
                self._lacks.forget(f"place {number}")
                place = replace(place, free_bytes=member.free_bytes)
                if await self._keep_busy(member, place):
                    return None
            except MachineProblem as problem:
                self._ledger.lost(number, str(problem))
                policy = self._lacks if isinstance(problem, Scarce) else self._deaths
                wait = policy.another(f"place {number}", 0)
                if wait is None or not isinstance(problem, DiedAtStart):
                    return problem
                await asyncio.sleep(wait)
            if self._service.useless(place.key):
                lost = f"{place.device.name} is out of service: {MOST_TRIALS} trials failed on it"
                self._ledger.lost(number, lost)
                return MachineProblem(lost)
            left = self._queue or self._linker or self._queue.awaits()
            if not left or self._control.stopping:
                return None
            hiring = asyncio.create_task(hire(crew, number, place))

    async def _keep_busy(
        self, member: WorkerHandle, place: Placement, patience: float | None = None
    ) -> bool:
        """Assign groups to a worker until none is left or a stop; return False if it was lost.

        Args:
            member: the worker.
            place: where it runs.
            patience: the seconds to wait for the next group; None to wait without limit.
        """
        while (work := await self._next_within(patience, place.key)) is not None:
            try:
                if not isinstance(work, Group):
                    if not await self._linker.draw(member, work):
                        return False
                elif not await self._attempt(member, place, work):
                    return False
            finally:
                self._queue.confirm_choices()  # before this worker counts as idle
                self._in_hand.pop(member.number, None)
                self._control.notify()
        return True

    def _heard(self, event: AnyEvent) -> None:
        """Record a worker's event; a trial that was skipped ends as skipped, not as stopped.

        Raises:
            CodeRefused: two workers have imported a module with different contents.
        """
        if isinstance(event, TrialEnded) and event.trial in self._control.unwanted:
            self._control.unwanted.discard(event.trial)
            if event.status in ("stopped", "failed"):
                event = msgspec.structs.replace(event, status="skipped", reason=SKIPPED)
        differing = self._differing(event) if isinstance(event, CodeLoaded) else []
        self._ledger.heard(event)
        if differing:
            raise code_changed(differing)
        if isinstance(event, CodeLoaded):
            self._pass_on(event.name)
        if isinstance(event, TrialEnded):
            self._warn_of_rate(event.trial)

    def _differing(self, event: CodeLoaded) -> list[str]:
        """Return the modules that another worker has imported with other contents meanwhile."""
        ready = self._ledger.state.data.get(event.name)
        known = dict(ready.task.digests) if ready and ready.task else {}
        return [name for name, digest in event.digests if known.get(name, digest) != digest]

    def _pass_on(self, name: str) -> None:
        """Let later workers compare the modules of a task that were imported late."""
        ready, data = self._ledger.state.data.get(name), self._data.get(name)
        if ready and data:
            self._data[name] = msgspec.structs.replace(data, task=ready.task)

    def _warn_of_rate(self, name: str) -> None:
        """Warn once per configuration that a trial ended before it had its learning rate."""
        trial = self._ledger.state.trials[name]
        ended = trial.status in ("finished", "diverged", "stopped")
        if ended and trial.configuration not in self._short:
            text = short_of_rate(self._ledger.state, trial)
            if text:
                self._short.add(trial.configuration)
                self._ledger.write(Note(level="warning", text=text, trial=name))

    async def _next_within(self, seconds: float | None, device: str) -> Group | Pair | None:
        try:
            async with asyncio.timeout(seconds):
                return await self._next(device)
        except TimeoutError:
            return None

    async def _next(self, device: str) -> Group | Pair | None:
        """Wait for the next group or line for a device; return None if none is left."""
        async for _ in self._control.changes():
            if not self._queue and not self._in_hand:
                self._listen()
            self._queue.confirm_choices()  # a command or a twin may have ended the last candidate
            if self._control.stopping:
                return None
            if not self._control.paused and (pair := self._linker.take()):
                return pair
            if self._queue and not self._control.paused:
                group = self._queue.take(lambda key: self._service.may(device, key))
                if group:
                    return group
            idle = not self._queue and not self._in_hand and not self._linker
            if idle and not self._queue.awaits():
                return None
        return None

    async def _may_begin(self, group: Group) -> None:
        """Wait until the sweep is not paused, unless the whole group is to end."""
        async for _ in self._control.changes():
            if not self._control.paused or all(self._control.ends(t.id) for t in group.trials):
                return

    async def _attempt(self, member: WorkerHandle, place: Placement, taken: Group) -> bool:
        """Have a worker plan and train a group; return False if the worker was lost."""
        group: Group | None = taken
        lost = None
        if taken.plan is None:
            self._in_hand[member.number] = taken
            lost = await self._plan(member, place, taken)
            if lost is None:
                group = self._queue.settled(taken)
                self._control.notify()
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
        """Have a worker plan the trials of a group; return why it was lost, or None."""
        attempt = self._ledger.next_attempt(group.key, *(trial.id for trial in group.trials))
        data = self._data[group.trials[0].settings.data.name]
        task = PlanningTask(member, place, group.trials, attempt, data)
        lost = await self._planner.settle(task, lambda: self._rest(member.number))
        if lost is None:
            self._end_unwanted(group, attempt)
        return lost

    async def _train(self, member: WorkerHandle, group: Group) -> str | None:
        """Have a worker train a planned group; return why it was lost, or None."""
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
            kept=self._ledger.weights_to_keep(active),
        )
        return await member.work(order, self._heard, self._control)

    def _left(self, group: Group) -> list[Trial]:
        """Return the trials of a group that have not ended and are still part of it."""
        state = self._ledger.state
        left = [t for t in group.trials if state.trials[t.id].status in ("queued", "running")]
        return [t for t in left if group.plan is None or state.job_of(t.id) == group.key]

    def _end_unwanted(self, group: Group, attempt: int) -> None:
        """End the trials of a group that were skipped."""
        for trial in self._left(group):
            if trial.id in self._control.unwanted:
                self._heard(TrialEnded(trial=trial.id, attempt=attempt, status="stopped"))

    def _rest(self, number: int) -> Rest:
        """Return the remaining work of the sweep, without the group of worker `number`."""
        busy = [
            self._queue.seconds(group) * (1 - self._fraction(group))
            for other, group in self._in_hand.items()
            if other != number
        ]
        return Rest(self._queue.workers, self._queue.waiting(), busy)

    def _fraction(self, group: Group) -> float:
        """Return the fraction of the budget that the unfinished trials of a group have used."""
        trials = self._ledger.state.trials
        return max((trials[trial.id].fraction for trial in self._left(group)), default=1.0)

    async def _after_death(
        self, group: Group, lost: str, device_failed: bool, lasting: bool = True
    ) -> None:
        """Retry a group after its worker was lost, or fail it after too many retries.

        A failed device does not count as a retry while another device can take the group. On a
        cluster (`lasting` is false) places come and go, so every loss counts. For lack of open
        files or processes it is retried for longer.
        """
        wait: float | None = 0.0
        policy, retries = self._deaths, RETRIES
        if tells_of_scarcity(lost):
            policy, retries = self._lacks, PATIENT_RETRIES
        if not (device_failed and lasting and self._service.elsewhere(group.key)):
            wait = policy.another(group.key, self._ledger.kept_steps(group.key))
        for trial in self._left(group):
            if self._control.ends(trial.id):
                self._end(trial, "stopped", lost)
            elif wait is None:
                self._end(trial, "failed", f"{lost} (after {retries} retries)")
        if wait is None or not self._left(group):
            self._deaths.forget(group.key)  # a retry by the user starts a new count
            self._lacks.forget(group.key)
            self._queue.give_back(group)
            return
        self._queue.put_back(group)
        self._control.notify()
        await asyncio.sleep(wait)

    def _end(self, trial: Trial, status: TrialStatus, reason: str) -> None:
        """Record the end of the trial's latest attempt; the figures of that attempt stay."""
        attempt = max(1, self._ledger.state.trials[trial.id].attempt)
        end = TrialEnded(trial=trial.id, attempt=attempt, status=status, reason=reason)
        self._heard(end)
