"""Times training steps in several workers at once, to find the best number of workers.

This happens before plans are made, for the kinds of trials that take most of the sweep's time. For
each division of the cores (or number of workers on a GPU), that many workers time steps of one
replicate and of a stack of replicates at the same time.
"""

import asyncio
from collections.abc import Mapping, Sequence
from statistics import fmean

import msgspec

from batchscope.engine.data.prepared import Prepared
from batchscope.engine.data.validation_split import training_size
from batchscope.engine.devices.devices import Device
from batchscope.engine.journal.events import AnyEvent, Measuring, Note, Paced
from batchscope.engine.orchestration.control import Control
from batchscope.engine.orchestration.crew import WorkerHandle
from batchscope.engine.orchestration.journal_writer import JournalWriter
from batchscope.engine.orchestration.placement import Placement, free_share
from batchscope.engine.orchestration.trial_queue import Group
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.planning.stacking import largest_stack
from batchscope.engine.planning.worker_count import Slots
from batchscope.engine.processes import orders

LEAST_SECONDS, MOST_SHARE = 0.3, 0.002  # for one kind of trial and division; share of the sweep
LEAST_BUDGET, BUDGET_SHARE = 20.0, 0.1  # seconds of the whole survey; share of the sweep
INTERPRETER_SECONDS = 6.0  # to start one and make a task in it
MOST_SAMPLES = 2  # kinds of trials
MOST_IMAGES = 512  # per micro-batch: it is not known yet how many fit


def survey_seconds(groups: Sequence[Group], divisions: int) -> float:
    """Return the expected seconds of starting interpreters, of which tasks need many."""
    tasks = any(map(_has_task, groups))
    return INTERPRETER_SECONDS * divisions * min(MOST_SAMPLES, len(groups)) if tasks else 0.0


def _has_task(group: Group) -> bool:
    return group.trials[0].settings.task is not None


class Surveyor:
    """Times steps in the workers of one device and records the results in the journal.

    Args:
        ledger: the journal.
        control: the stops and pauses of the sweep.
        data: the prepared data sets, by name.
        seconds: the expected seconds of the sweep.
        stacks: the number of groups that wait.
    """

    def __init__(
        self,
        ledger: JournalWriter,
        control: Control,
        data: Mapping[str, Prepared],
        seconds: float,
        stacks: int,
    ) -> None:
        self._ledger, self._control, self._data = ledger, control, data
        self._seconds, self._stacks = max(LEAST_SECONDS, MOST_SHARE * seconds), stacks
        self._budget, self._over = max(LEAST_BUDGET, BUDGET_SHARE * seconds), False

    async def time(
        self,
        members: Sequence[WorkerHandle],
        device: Device,
        slots: Sequence[Slots],
        groups: Sequence[Group],
    ) -> dict[Slots, list[float]]:
        """Measure, for each division, the seconds per step of one replicate of each group.

        The result is empty if a worker failed, or if it takes more than a share of the sweep: on a
        busy machine, and for tasks, for which each worker starts an interpreter each time.
        """
        times = dict[Slots, list[float]]()
        watching = asyncio.create_task(self._end_in_time(members))
        try:
            for each in slots:
                for group in groups:
                    self._ledger.write(Measuring(what="workers", trial=group.trials[0].id))
                    seconds = await self._time(members[: each.workers], device, each, group)
                    if self._over:
                        self._write_over(device)
                    if seconds is None or self._over:
                        return {}
                    times.setdefault(each, []).append(seconds)
        finally:
            watching.cancel()
        return times

    async def _end_in_time(self, members: Sequence[WorkerHandle]) -> None:
        """End the measurements of all workers once the survey has taken its time."""
        await asyncio.sleep(self._budget)
        self._over = True
        await asyncio.gather(*(member.order(orders.Halt()) for member in members))

    def _write_over(self, device: Device) -> None:
        text = (
            f"{device.title}: the best number of workers was not measured to the end, as that "
            f"takes more than {self._budget:.0f} s; one worker trains on each core or GPU"
        )
        self._ledger.write(Note(text=text))

    async def _time(
        self, members: Sequence[WorkerHandle], device: Device, slots: Slots, group: Group
    ) -> float | None:
        order = self._order(Placement(device, slots.workers, slots.threads), group)
        heard: list[AnyEvent] = []
        rounds = [order]
        if not _has_task(group):  # a task is loaded anew in each round
            # the first round loads the data, so that in the second all workers run at the same time
            rounds.insert(0, msgspec.structs.replace(order, seconds=0.0))
        for each in rounds:
            heard.clear()
            if self._over:
                return None
            working = [member.work(each, heard.append, self._control) for member in members]
            if any(await asyncio.gather(*working)):
                return None
        paced = [event for event in heard if isinstance(event, Paced) and event.stacks]
        if len(paced) < len(members):
            return None
        self._ledger.write(*paced)
        return fmean(min(one.seconds / one.size for one in event.stacks) for event in paced)

    def _order(self, place: Placement, group: Group) -> orders.Pace:
        trial = group.trials[0]
        data = self._data[trial.settings.data.name]
        most = min(len(group.trials), largest_stack(trial.settings))
        if self._stacks < place.workers:
            most = -(-most // place.workers)
        size = min(MOST_IMAGES, training_size(trial.settings.data, data.train))
        return orders.Pace(
            members=group.trials,
            stacks=tuple(dict.fromkeys((1, most))),
            plan=make_plan(trial, size, place.threads, place.has_gpu),
            attempt=1,
            data=data,
            device_name=place.device.title,
            limit_bytes=free_share(place, data),
            seconds=self._seconds,
            workers=place.workers,
        )
