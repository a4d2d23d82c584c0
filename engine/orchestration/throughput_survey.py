"""Has workers take steps at the same time, to find out how many there should be.

It is asked before any plan is fixed, of the kinds of trials that make up most of the sweep: for
every division of the cores, or number of workers on a GPU, as many workers as that has time steps
of one replicate and of a stack, as it would be trained then.
"""

import asyncio
from collections.abc import Mapping, Sequence
from statistics import fmean

import msgspec

from batchscope.engine.data.prepared import Prepared
from batchscope.engine.data.validation_split import training_size
from batchscope.engine.devices.devices import Device
from batchscope.engine.journal.events import AnyEvent, Paced
from batchscope.engine.orchestration.control import Control
from batchscope.engine.orchestration.crew import WorkerHandle
from batchscope.engine.orchestration.journal_writer import JournalWriter
from batchscope.engine.orchestration.placement import Placement, free_share
from batchscope.engine.orchestration.trial_queue import Group
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.planning.stacking import largest_stack
from batchscope.engine.planning.worker_count import Slots
from batchscope.engine.processes import orders

LEAST_SECONDS, MOST_SHARE = 0.3, 0.002  # of the whole sweep, for one kind in one division
MOST_IMAGES = 512  # at once: nobody knows yet how many fit


class Surveyor:
    """Asks the workers of one device, and has the `ledger` keep what they answer.

    The sweep is expected to take so many `seconds`, and to have so many `stacks`.
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

    async def time(
        self,
        members: Sequence[WorkerHandle],
        device: Device,
        slots: Sequence[Slots],
        groups: Sequence[Group],
    ) -> dict[Slots, list[float]]:
        """Seconds of a replicate's step of each group in one worker; nothing where one failed."""
        times = dict[Slots, list[float]]()
        for each in slots:
            for group in groups:
                seconds = await self._time(members[: each.workers], device, each, group)
                if seconds is None:
                    return {}
                times.setdefault(each, []).append(seconds)
        return times

    async def _time(
        self, members: Sequence[WorkerHandle], device: Device, slots: Slots, group: Group
    ) -> float | None:
        order = self._order(Placement(device, slots.workers, slots.threads), group)
        heard: list[AnyEvent] = []
        # first for what each has to load, which would leave the others alone for a while
        for each in (msgspec.structs.replace(order, seconds=0.0), order):
            heard.clear()
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
