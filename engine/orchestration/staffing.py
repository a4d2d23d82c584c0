"""Decides how many workers train a sweep.

While the images are prepared, one worker per core or GPU is started. If `--workers` is not given,
the recorded plans determine the threads of each worker. Without plans, and if the sweep is long
enough, the throughput of different numbers of workers is measured
(`engine.orchestration.throughput_survey`). Otherwise the log says why it was not.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from batchscope.engine.data.prepared import Prepared
from batchscope.engine.devices.devices import cores
from batchscope.engine.journal.events import Note, WorkerDismissed
from batchscope.engine.orchestration.control import Control
from batchscope.engine.orchestration.crew import Crew, WorkerHandle
from batchscope.engine.orchestration.dispatcher import hire
from batchscope.engine.orchestration.journal_writer import JournalWriter
from batchscope.engine.orchestration.placement import Placement
from batchscope.engine.orchestration.throughput_survey import (
    BUDGET_SHARE,
    MOST_SAMPLES,
    Surveyor,
    survey_seconds,
)
from batchscope.engine.orchestration.trial_queue import Group, TrialQueue
from batchscope.engine.planning.worker_count import (
    MOST_ON_A_GPU,
    WORTH_SECONDS,
    Sample,
    Slots,
    choose_worker_count,
    on_a_gpu,
    options,
)

LONGER_ON_A_GPU = 10  # estimates are of a CPU core


class Staff(NamedTuple):
    """The placement of each worker, and the task that starts it."""

    places: list[Placement]
    hired: "list[asyncio.Task[WorkerHandle]]"


class Staffing:
    """Chooses the number of workers and ends those that are not needed.

    The number is not changed if trials have several workers each (`run.data_parallel`).

    Args:
        ledger: the journal.
        queue: the trials that wait.
        data: the prepared data sets, by name.
        control: the stops and pauses of the sweep.
        limited: whether the user limited the memory of a device.
        alone: whether epochs are timed alone. There is one worker then, and only the number of
            its threads is chosen.
    """

    def __init__(
        self,
        ledger: JournalWriter,
        queue: TrialQueue,
        data: Mapping[str, Prepared],
        control: Control,
        limited: bool,
        alone: bool,
    ) -> None:
        self._ledger, self._queue, self._data, self._control = ledger, queue, data, control
        self._limited, self._alone = limited, alone

    async def settle(self, crew: Crew, staff: Staff) -> Staff:
        """Return the workers that stay, or more of them on a GPU; end the others."""
        groups = self._queue.groups()
        # without groups only lines between solutions are left; a team fills several cores or cards
        if not groups or staff.places[0].team:
            return staff
        if staff.places[0].device.handle is not None:
            return staff if self._alone else await self._share_gpus(crew, staff, groups)
        threads = [group.plan.threads for group in groups if group.plan]
        if threads:
            most = max(threads)
            slots = Slots(min(len(staff.places), max(1, cores() // most)), most)
            return await self._kept(crew, staff, slots)
        count = sum(len(group.trials) for group in groups)
        divisions = options(cores(), 1 if self._alone else count)
        if len(divisions) < 2 or divisions[0].workers != len(staff.places):
            return staff
        why_not = self._why_not(groups, len(divisions), len(staff.hired))
        if why_not:
            self._ledger.write(Note(text=f"cpu: {divisions[0]}, {why_not}"))
            return staff
        chosen = await self._choose(staff.hired, staff.places[0], divisions, groups)
        return await self._kept(crew, staff, chosen) if chosen else staff

    async def _kept(self, crew: Crew, staff: Staff, slots: Slots) -> Staff:
        """Keep the first `slots.workers` workers, with `slots.threads` threads each."""
        for number in range(slots.workers, len(staff.places)):
            await self._let_go(crew, number, staff.hired[number])
        device = staff.places[0].device
        places = [Placement(device, slots.workers, slots.threads)] * slots.workers
        return Staff(places, staff.hired[: slots.workers])

    async def _let_go(self, crew: Crew, number: int, hired: "asyncio.Task[WorkerHandle]") -> None:
        await asyncio.wait([hired])
        await crew.let_go(number)
        self._ledger.write(WorkerDismissed(worker=number))

    async def _share_gpus(self, crew: Crew, staff: Staff, groups: Sequence[Group]) -> Staff:
        """Return as many workers for each GPU as were fastest together on the first GPU."""
        devices, first = len(staff.places), staff.places[0]
        divisions = on_a_gpu(sum(len(group.trials) for group in groups) // devices)
        if len(divisions) < 2:
            return staff
        why_not = self._why_not(groups, len(divisions), devices * LONGER_ON_A_GPU)
        if why_not:
            self._ledger.write(Note(text=f"one worker on each GPU, {why_not}"))
            return staff
        more = [
            asyncio.create_task(hire(crew, devices + at, first)) for at in range(MOST_ON_A_GPU - 1)
        ]
        asked = [staff.hired[0], *more[: divisions[-1].workers - 1]]
        chosen = await self._choose(asked, first, divisions, groups)
        count = chosen.workers if chosen else 1
        for at, task in enumerate(more[count - 1 :], devices + count - 1):
            await self._let_go(crew, at, task)
        places = [Placement(place.device, count, 1) for place in staff.places]
        extra = [
            Placement(place.device, count, 1) for place in staff.places for _ in range(count - 1)
        ]
        late = [
            asyncio.create_task(hire(crew, number, place))
            for number, place in enumerate(extra[count - 1 :], devices + count - 1)
        ]
        return Staff([*places, *extra], [*staff.hired, *more[: count - 1], *late])

    async def _choose(
        self,
        hired: "Sequence[asyncio.Task[WorkerHandle]]",
        place: Placement,
        divisions: Sequence[Slots],
        groups: Sequence[Group],
    ) -> Slots | None:
        """Measure the divisions and return the best; None if nothing was measured."""
        members = await asyncio.gather(*hired, return_exceptions=True)
        ready = [member for member in members if not isinstance(member, BaseException)]
        if len(ready) < len(members):
            return None
        kinds = sorted(groups, key=self._queue.seconds, reverse=True)[:MOST_SAMPLES]
        seconds = sum(map(self._queue.seconds, groups)) / len(hired)
        surveyor = Surveyor(self._ledger, self._control, self._data, seconds, len(groups))
        timed = await surveyor.time(ready, place.device, divisions, kinds)
        if not timed:
            return None
        samples = [
            Sample(self._queue.seconds(group) / len(group.trials), len(group.trials))
            for group in kinds
        ]
        chosen, gain = choose_worker_count(timed, samples)
        self._ledger.write(
            Note(text=f"{place.device.name}: {chosen}, {gain:.2f} × as fast as the next best")
        )
        return chosen

    def _why_not(self, groups: Sequence[Group], divisions: int, share: int) -> str:
        """Return why measuring does not pay off; empty if it does.

        It does without a memory limit, if the sweep is long, or if epochs are timed alone.

        Args:
            groups: the groups that wait.
            divisions: how many divisions would be measured.
            share: the number of workers that divide the groups.
        """
        if self._limited:
            return "because a memory limit is set"
        seconds = sum(map(self._queue.seconds, groups)) / share
        cost = survey_seconds(groups, divisions)
        if self._alone or seconds >= max(WORTH_SECONDS, cost / BUDGET_SHARE):
            return ""
        return "because the sweep is too short to measure which number is fastest"
