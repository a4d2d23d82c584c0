"""Makes the numeric plans of trials before their first step.

A recorded plan is used again. Otherwise, unless the preset sets a micro-batch size, a worker tries
the sizes that may fit, and times stacks of replicates if there are several. Trials that agree in
everything that affects memory and speed share one measurement. A stack uses the same micro-batch
as a replicate on its own.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from batchscope.engine.analysis.stack_times import compares_times
from batchscope.engine.analysis.time_estimate import trial_seconds
from batchscope.engine.data.prepared import Prepared
from batchscope.engine.data.validation_split import training_size
from batchscope.engine.formatting import shown_size
from batchscope.engine.journal.events import (
    AnyEvent,
    Measuring,
    MicroBatchesMeasured,
    Note,
    Paced,
    Planned,
    TrialEnded,
)
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.networks.architectures import images_together
from batchscope.engine.orchestration.control import Control
from batchscope.engine.orchestration.costs import Costs
from batchscope.engine.orchestration.crew import WorkerHandle
from batchscope.engine.orchestration.placement import (
    Placement,
    data_bytes,
    free_share,
    worker_share,
)
from batchscope.engine.planning.batch_norm import ghostly, grouped, joined, pieces, refusal
from batchscope.engine.planning.micro_batch import (
    HEADROOM,
    MicroBatchChoice,
    choose_micro_batch,
    fits,
    told_apart,
    usable,
)
from batchscope.engine.planning.plan import (
    DRAW_MICRO_BATCH_SIZE,
    LEAST_SECONDS,
    MOST_SHARE,
    Plan,
    alike,
    for_members,
    make_plan,
    of_one_worker,
    of_share,
)
from batchscope.engine.planning.random_forward import drawn_in_parts, same_in_parts
from batchscope.engine.planning.stacking import Pieces, candidates, divide, fixed, largest_stack
from batchscope.engine.processes import orders
from batchscope.engine.schedule.course import changing
from batchscope.engine.schedule.reached_rate import never_reached
from batchscope.engine.spec import Trial


class NothingFits(Exception):
    """Not even the smallest micro-batch fits below the memory limit."""


class Rest(NamedTuple):
    """The rest of the sweep, apart from the trials that are planned.

    Attributes:
        workers: the number of workers.
        waiting: the expected seconds of each waiting group.
        busy: the seconds for which each of the other workers will be busy.
    """

    workers: int = 1
    waiting: Sequence[float] = ()
    busy: Sequence[float] = ()


def no_rest() -> Rest:
    """Return the rest of a sweep that has no other work."""
    return Rest()


@dataclass(frozen=True, slots=True)
class PlanningTask:
    """Replicates to be planned, with the worker that measures for them and their data set."""

    member: WorkerHandle
    place: Placement
    trials: tuple[Trial, ...]
    attempt: int
    data: Prepared

    @property
    def first(self) -> Trial:
        """The trial that is measured for all: they differ only in the seed."""
        return self.trials[0]


class Ended(Exception):
    """The trial that is measured for all ended during the measurement."""


class Lost(Exception):
    """The worker was lost; the message says why."""


class Planner:
    """Makes and records the plan of every trial.

    Args:
        state: the state of the sweep.
        heard: records an event.
        control: the stops and pauses of the sweep.
        limit: the memory limit of a device, in bytes; None without one.
        costs: the expected seconds of trials and stacks.
    """

    def __init__(
        self,
        state: SweepState,
        heard: Callable[[AnyEvent], None],
        control: Control,
        limit: int | None,
        costs: Costs,
    ) -> None:
        self._state, self._heard, self._control, self._limit = state, heard, control, limit
        self._costs = costs
        self._under_way: dict[bytes, asyncio.Lock] = {}
        self._warned: set[str] = set()

    async def settle(self, task: PlanningTask, rest: Callable[[], Rest] = no_rest) -> str | None:
        """Record the plans of replicates, or end them as failed if no plan is possible.

        Args:
            task: the replicates and their worker.
            rest: returns the rest of the sweep; called only if replicates may be stacked, since
                it looks at everything that waits.

        Returns:
            Why the worker was lost, or None.
        """
        trial = task.first
        if task.data.task is not None and task.data.task.problem:
            self._fail(task, task.data.task.problem)
            return None
        size = training_size(trial.settings.data, task.data.train)
        whole = make_plan(trial, size, self._threads(task), task.place.has_gpu)
        named = trial.settings.memory.micro_batch_size != "auto"
        counts = pieces(trial.settings, size)
        together = images_together(trial.settings.model)
        refused = refusal(counts, whole.micro_batch_size if named else None, together)
        refused = refused or self._never_reached(trial, size)
        if refused:
            self._fail(task, refused)
            return None
        key = alike(trial.settings, whole.share)
        try:
            async with self._under_way.setdefault(key, asyncio.Lock()):
                measured, plan = None, whole
                if not named or self._asked(trial) is not None:
                    measured = await self._measured(task, key, whole)
                    plan = chosen(whole, measured, same_in_parts(trial.settings))
                stacks = await self._stacks(task, plan, measured, rest)
        except Lost as lost:
            return str(lost)
        except Ended:
            return None
        except NothingFits as problem:
            self._fail(task, str(problem))
            return None
        self._write_all(task, plan, measured, stacks)
        return None

    def _never_reached(self, trial: Trial, size: int) -> str | None:
        """Return why a value of the settings is never reached; None if it is, or if it was begun.

        An earlier version began such trials, and the rest of a configuration follows its first.
        """
        replicates = self._state.replicates(trial.configuration)
        begun = any(each.id in self._state.plans for each in replicates)
        return None if begun else never_reached(trial.settings, size)

    def _threads(self, task: PlanningTask) -> int:
        """Return the threads of replicates that have a plan, so that only the seed differs."""
        replicates = self._state.replicates(task.first.configuration)
        plans = (self._state.plans.get(trial.id) for trial in replicates)
        return next((plan.threads for plan in plans if plan), task.place.threads)

    async def _measured(self, task: PlanningTask, key: bytes, whole: Plan) -> MicroBatchesMeasured:
        """Return the micro-batch measurements for such a trial; measure if there are none."""
        trial, place = task.first, task.place
        asked = self._asked(trial)
        share = (
            free_share(place, task.data) if asked is None else worker_share(asked, place, task.data)
        )
        measured = self._earlier(key, place, asked, share)
        if measured is not None:
            return measured
        before = len(self._state.measured)
        order = orders.Measure(
            members=(trial,),
            plan=of_one_worker(whole),
            attempt=task.attempt,
            data=task.data,
            device_name=place.device.title,
            asked_bytes=asked,
            limit_bytes=share,
            seconds=_seconds(task) * (0.5 if _most(task) > 1 else 1.0),
        )
        self._heard(Measuring(what="micro-batches", trial=trial.id))
        await self._have(task, order)
        new = [m for m in self._state.measured[before:] if m.trial == trial.id]
        if not new:
            raise Ended
        return new[0]

    async def _stacks(
        self,
        task: PlanningTask,
        plan: Plan,
        measured: MicroBatchesMeasured | None,
        rest_of_sweep: Callable[[], Rest],
    ) -> Pieces:
        """Divide the replicates into stacks; `plan` is the plan of one replicate alone."""
        count, most = len(task.trials), _most(task)
        if measured is not None:
            most = min(most, _fitting(plan, measured, task.data))
        if most == 1:
            return Pieces((1,) * count)
        if isinstance(task.first.settings.run.stack, int):
            return fixed(count, most)
        rest = rest_of_sweep()
        timed = self._timed(task, plan, most)
        if timed is None:
            limit = measured.limit_bytes if measured else free_share(task.place, task.data)
            order = orders.Pace(
                members=task.trials,
                stacks=candidates(most, rest.workers),
                plan=plan,
                attempt=task.attempt,
                data=task.data,
                device_name=task.place.device.title,
                limit_bytes=limit,
                seconds=_seconds(task) / 2,
            )
            before = len(self._state.paced)
            self._heard(Measuring(what="stacks", trial=task.first.id))
            await self._have(task, order)
            if len(self._state.paced) == before:
                raise Ended
            timed = self._timed(task, plan, most)
        stacks, alone = timed.stacks if timed else (), self._costs.alone(task.first)
        opened = self._state.opened
        whole = opened is not None and compares_times(opened.claims)
        return divide(count, most, stacks, alone, *rest, whole=whole)

    async def _have(self, task: PlanningTask, order: orders.Work) -> None:
        """Have the worker execute an order.

        Raises:
            Lost: the worker was lost.
        """
        lost = await task.member.work(order, self._heard, self._control)
        if lost is not None:
            raise Lost(lost)

    def _timed(self, task: PlanningTask, plan: Plan, most: int) -> Paced | None:
        """Return a recorded timing of stacks up to `most` replicates under this plan, or None."""
        wanted = (task.place.device.title, plan.micro_batch_size, plan.threads, 0)
        for paced in reversed(self._costs.timed(task.first.settings, plan.share)):
            there = (paced.device_name, paced.micro_batch_size, paced.threads, paced.workers)
            if there == wanted and paced.asked >= most:
                return paced
        return None

    def _write_all(
        self, task: PlanningTask, plan: Plan, measured: MicroBatchesMeasured | None, stacks: Pieces
    ) -> None:
        """Record the plan of each stack; replicates are divided in the order of their seeds."""
        left = list(task.trials)
        for size in stacks.sizes:
            members, left = left[:size], left[size:]
            made = for_members(plan, members)
            reason = stacks.reason
            if size > 1:
                reason = f"{size:,} replicates as one stack: {reason}"
                batch = _evaluation(size, measured, task.data) if measured else None
                made = msgspec.structs.replace(
                    made, evaluation_batch_size=batch or made.evaluation_batch_size
                )
            reasons = f"{made.reason}; {reason}" if reason else made.reason
            self._write(members[0], msgspec.structs.replace(made, reason=reasons))

    def _write(self, trial: Trial, plan: Plan) -> None:
        """Record a plan; warn once per configuration if gradient accumulation is not exact."""
        if plan.largest_batch_size is not None:
            grows = f"the batch size changes from {plan.batch_size:,}, and {plan.largest:,} is the"
            reason = f"{grows} largest" if changing(trial.settings) else joined(plan)
            plan = msgspec.structs.replace(plan, reason=f"{plan.reason}; {reason}")
        ghost = ghostly(trial.settings, plan)
        for remark in (ghost or grouped(trial.settings), drawn_in_parts(trial.settings, plan)):
            if remark:
                plan = msgspec.structs.replace(plan, reason=f"{plan.reason}; {remark}")
        self._heard(Planned(plan=plan))
        if ghost and trial.configuration not in self._warned:
            self._warned.add(trial.configuration)
            text = f"{ghost}: with another micro-batch size the results differ"
            self._heard(Note(level="warning", text=text, trial=trial.id))

    def _fail(self, task: PlanningTask, reason: str) -> None:
        for trial in task.trials:
            self._heard(
                TrialEnded(trial=trial.id, attempt=task.attempt, status="failed", reason=reason)
            )

    def _asked(self, trial: Trial) -> int | None:
        """Return the smaller memory limit of command line and preset; None if none is set."""
        limits = [self._limit, trial.settings.memory.limit_bytes]
        return min((limit for limit in limits if limit is not None), default=None)

    def _earlier(
        self, key: bytes, place: Placement, asked: int | None, share: int | None
    ) -> MicroBatchesMeasured | None:
        """Return an earlier, still valid measurement of such a trial on such a device, or None.

        A resumed sweep may have fewer workers, and so more memory for each. What fitted before
        still fits, and replicates keep the same plan.
        """
        for measured in reversed(self._state.measured):
            trial = self._state.trials.get(measured.trial)
            there = (measured.device_name, measured.asked_bytes) == (place.device.title, asked)
            if trial is not None and there and alike(trial.settings, measured.batch_size) == key:
                # what did not fit into less memory may fit now
                enough = asked is None or share is None or measured.limit_bytes <= share
                settled = measured.limit_bytes == share or _best(measured)
                return measured if enough and settled else None
        return None


def chosen(whole: Plan, measured: MicroBatchesMeasured, exact: bool = True) -> Plan:
    """Return the plan with the micro-batch size that the measurements or the preset choose.

    Args:
        whole: the plan before the choice.
        measured: the measured micro-batch sizes.
        exact: whether any cut gives the gradient of the whole batch. If not (batch norm, random
            numbers in the forward pass), the batch is not divided for speed.

    Raises:
        NothingFits: not even the smallest size fits below the limit.
    """
    choice, named = _best(measured, exact), whole.micro_batch_size < whole.share
    if choice is None:
        raise NothingFits(_too_little(measured, named))
    if named:
        choice = MicroBatchChoice(whole.micro_batch_size, whole.reason)
    if measured.longest:
        reason = f"{choice.reason}; memory was measured on the longest samples"
        choice = MicroBatchChoice(choice.micro_batch_size, reason)
    micro = choice.micro_batch_size
    fitting = [s.micro_batch_size for s in measured.shapes if fits(s, measured.limit_bytes)]
    draw = DRAW_MICRO_BATCH_SIZE
    return msgspec.structs.replace(
        whole,
        micro_batch_size=micro,
        accumulation_steps=-(-whole.share // micro),
        evaluation_batch_size=measured.evaluation_batch_size,
        draw_micro_batch_size=draw if measured.asked_bytes is None else min(draw, max(fitting)),
        reason=of_share(whole, choice.reason),
    )


def _seconds(task: PlanningTask) -> float:
    """Return the time limit of measuring in seconds: a share of the trial's expected time."""
    return max(LEAST_SECONDS, MOST_SHARE * trial_seconds(task.first.settings, task.data.train))


def _most(task: PlanningTask) -> int:
    """Return the most replicates that may form a stack, regardless of measurements."""
    return min(len(task.trials), largest_stack(task.first.settings))


def _fitting(plan: Plan, measured: MicroBatchesMeasured, data: Prepared) -> int:
    """Return the largest stack that is expected to fit in memory with the plan's micro-batch.

    They share one copy of the images; otherwise each needs as much memory as one alone.
    """
    held, micro = data_bytes(data), plan.micro_batch_size
    peak = next(s.peak_bytes for s in measured.shapes if s.micro_batch_size == micro)
    return max(1, (usable(measured.limit_bytes) - held) // max(1, peak - held))


def _evaluation(size: int, measured: MicroBatchesMeasured, data: Prepared) -> int:
    """Return the evaluation batch size, halved until a stack of `size` replicates fits."""
    batch, held = measured.evaluation_batch_size, data_bytes(data)
    each = max(0, measured.evaluation_peak_bytes - held) / batch
    while batch > 1 and held + size * batch * each > usable(measured.limit_bytes):
        batch //= 2
    return batch


def _best(measured: MicroBatchesMeasured, exact: bool = True) -> MicroBatchChoice | None:
    return choose_micro_batch(
        measured.batch_size, measured.shapes, measured.limit_bytes, measured.held_bytes, exact
    )


def _too_little(measured: MicroBatchesMeasured, named: bool) -> str:
    least = min(measured.shapes, key=lambda shape: shape.micro_batch_size)
    needs, has = "more", shown_size(measured.limit_bytes)
    if not least.failed:
        needs, has = told_apart(least.peak_bytes / (1 - HEADROOM), measured.limit_bytes)
        needs += " including the data and a tenth in reserve"
    count = least.micro_batch_size
    smallest = "one sample at a time fits" if count == 1 else f"{count:,} samples at a time fit"
    what = f"memory.micro_batch_size = {count} does not fit" if named else f"not even {smallest}"
    return f"{what}: it needs {needs}, and a worker may use {has}"
