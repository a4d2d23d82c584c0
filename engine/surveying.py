"""Has workers take steps at the same time, to find out how many there should be.

It is asked before any plan is fixed, of the kinds of trials that make up most of the sweep: for
every division of the cores, or number of workers on a GPU, as many workers as that has time steps
of one replicate and of a stack, as it would be trained then.
"""

import asyncio
from collections.abc import Mapping, Sequence
from statistics import fmean

import msgspec

from engine import orders
from engine.control import Control
from engine.crew import Member
from engine.devices import Device
from engine.events import AnyEvent, Paced
from engine.ledger import Ledger
from engine.place import Place, free_share
from engine.plan import make_plan
from engine.prepared import Prepared
from engine.queueing import Group
from engine.slots import Slots
from engine.split import training_size
from engine.stacking import largest_stack

LEAST_SECONDS, MOST_SHARE = 0.3, 0.002  # of the whole sweep, for one kind in one division
MOST_IMAGES = 512  # at once: nobody knows yet how many fit


class Surveyor:
    """Asks the workers of one device, and has the `ledger` keep what they answer.

    The sweep is expected to take so many `seconds`, and to have so many `stacks`.
    """

    def __init__(
        self,
        ledger: Ledger,
        control: Control,
        data: Mapping[str, Prepared],
        seconds: float,
        stacks: int,
    ) -> None:
        self._ledger, self._control, self._data = ledger, control, data
        self._seconds, self._stacks = max(LEAST_SECONDS, MOST_SHARE * seconds), stacks

    async def time(
        self,
        members: Sequence[Member],
        device: Device,
        slots: Sequence[Slots],
        groups: Sequence[Group],
    ) -> dict[Slots, list[float]]:
        """Seconds of a replicate's step of each group in one worker; nothing where one failed."""
        found = dict[Slots, list[float]]()
        for each in slots:
            for group in groups:
                seconds = await self._time(members[: each.workers], device, each, group)
                if seconds is None:
                    return {}
                found.setdefault(each, []).append(seconds)
        return found

    async def _time(
        self, members: Sequence[Member], device: Device, slots: Slots, group: Group
    ) -> float | None:
        order = self._order(Place(device, slots.workers, slots.threads), group)
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

    def _order(self, place: Place, group: Group) -> orders.Pace:
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
