"""Watches the memory and the cards of a sweep's devices while its workers train."""

import asyncio
from collections.abc import Sequence

from batchscope.engine.devices.devices import Device, lost_among, with_children
from batchscope.engine.orchestration.crew import Crew
from batchscope.engine.orchestration.journal_writer import JournalWriter
from batchscope.engine.orchestration.memory_monitor import MemoryWatch
from batchscope.engine.system.scarcity import is_scarce

MEMORY_SECONDS = 2.0


async def watch_devices(
    devices: Sequence[Device], crew: Crew, ledger: JournalWriter, limit: int | None, teams: bool
) -> None:
    """Record how memory changes, and give the workers of a lost card up, until cancelled.

    Args:
        devices: the devices; one may be named several times.
        crew: the workers.
        ledger: the journal.
        limit: the limit of memory that the user set, in bytes.
        teams: whether workers have children that train with them.
    """
    watch = MemoryWatch(list(dict.fromkeys(devices)), limit)
    while True:
        reserved = {device.name: 0 for device in devices}
        for name, held in ledger.reserved.values():
            reserved[name] = reserved.get(name, 0) + held
        pids = crew.pids
        try:
            if teams:
                pids = await asyncio.to_thread(with_children, pids)
            # in a thread: the driver of a broken card can take seconds to answer
            samples = await asyncio.to_thread(watch.changed, pids, reserved)
            lost = await asyncio.to_thread(lost_among, devices)
        except (OSError, RuntimeError) as error:
            if not is_scarce(error):
                raise
            samples, lost = [], []
        for sample in samples:
            ledger.write(sample)
        for device in lost:
            crew.give_up(device.name, "the driver says that the card is lost")
        await asyncio.sleep(MEMORY_SECONDS)
