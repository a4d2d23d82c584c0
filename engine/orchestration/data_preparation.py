"""Prepares what a sweep trains on: its images, and what the functions of its tasks bring.

Several are prepared at once. A task whose function takes long holds only its own trials up: the
sweep begins with what there is, and the others join when they are ready.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from batchscope.engine.data.prepared import Prepared
from batchscope.engine.devices.devices import cores
from batchscope.engine.errors import printable
from batchscope.engine.experiment.preset import Preset
from batchscope.engine.experiment.task_facts_check import refuse_unknown
from batchscope.engine.journal import events as ev
from batchscope.engine.orchestration.control import Control
from batchscope.engine.orchestration.data_fetch import fetch, inspect, prepared
from batchscope.engine.orchestration.journal_writer import JournalWriter
from batchscope.engine.orchestration.retry_policy import PATIENT_RETRIES, Deaths
from batchscope.engine.spec import Settings
from batchscope.engine.sweeps.launch_file import Launch
from batchscope.engine.sweeps.trust import check_sweep
from batchscope.engine.system.scarcity import is_scarce

MOST_AT_ONCE = 8
"""Each process holds about 300 MB."""
NAMED = 3


class DataPreparation:
    """Prepares every data set and task of a sweep.

    Args:
        folder: the sweep's folder.
        launch: how the sweep was started.
        ledger: the journal.
        control: whether changed code is accepted.
        preset: returns the experiment.

    Attributes:
        data: what is prepared, by name; it grows.
    """

    def __init__(
        self,
        folder: Path,
        launch: Launch,
        ledger: JournalWriter,
        control: Control,
        preset: Callable[[], Preset],
    ) -> None:
        self._folder, self._launch, self._control = folder, launch, control
        self._ledger, self._state, self._write = ledger, ledger.state, ledger.write
        self._preset = preset
        self.data: dict[str, Prepared] = {}
        self._working: dict[str, asyncio.Task[None]] = {}

    @property
    def awaited(self) -> bool:
        """Whether trials wait for data that are still being prepared."""
        return any(
            trial.settings.data.name in self._working and not trial.done
            for trial in self._state.trials.values()
        )

    async def enough(self, all_of_it: bool = False) -> None:
        """Prepare everything; return earlier if only functions of tasks are left that take long.

        That is, if nothing has become ready for the seconds after which a worker counts as silent.

        Args:
            all_of_it: whether to wait for them, too.

        Raises:
            UsageProblem: the code of a task may not be run, or the preset names what it lacks.
            MachineProblem: images could not be read or downloaded.
        """
        room = asyncio.Semaphore(min(MOST_AT_ONCE, cores()))
        settings = {c.settings.data.name: c.settings for c in self._preset().configurations}
        try:
            self._working = {
                name: asyncio.create_task(self._prepare(name, each, room))
                for name, each in settings.items()
                if name not in self.data
            }
            while self._working:
                tasks = all(settings[name].task for name in self._working)
                early = bool(self.data) and tasks and not all_of_it
                if not await self._next(self._launch.silence_seconds if early else None):
                    break
        except BaseException:
            await self.cancel()
            raise
        if late := list(self._working):
            self._write(ev.Note(level="warning", text=_late(late)))

    async def rest(self, arrived: Callable[[], None]) -> None:
        """Wait for what takes long; `arrived` is called whenever something is ready.

        Raises:
            UsageProblem: see `enough`.
            MachineProblem: see `enough`.
        """
        while self._working:
            await self._next(None)
            arrived()

    async def cancel(self) -> None:
        """End what is still being prepared."""
        left, self._working = list(self._working.values()), {}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _next(self, patience: float | None) -> bool:
        """Wait until something is ready; return False if that takes longer than `patience`."""
        done, _ = await asyncio.wait(
            self._working.values(), timeout=patience, return_when=asyncio.FIRST_COMPLETED
        )
        for name, task in list(self._working.items()):
            if task in done:
                del self._working[name]
                task.result()
        return bool(done)

    async def _prepare(self, name: str, settings: Settings, room: asyncio.Semaphore) -> None:
        """Prepare a data set, or run a task's function once."""
        recorded, lacks = self._state.data.get(name), Deaths(PATIENT_RETRIES)
        if settings.task:
            check_sweep(self._folder)
        home, silence = self._folder.parent.parent, self._launch.silence_seconds
        while True:
            async with room:
                preparing = (
                    inspect(settings.task, self._launch.task_folder, self._write, silence)
                    if settings.task
                    else fetch(name, home, self._launch.data_dir, self._write, silence)
                )
                try:
                    accepts = self._control.accepts_code
                    sweep = self._folder.name
                    found = await prepared(name, preparing, recorded, self._write, accepts, sweep)
                    break
                except (OSError, RuntimeError) as error:  # no process, file or thread at present
                    wait = lacks.another(name, 0) if is_scarce(error) else None
                    if wait is None:
                        raise
                    text = f"{name}: the data cannot be prepared at present: {error}"
            self._write(ev.Note(level="warning", text=f"{printable(text)}; trying again"))
            await asyncio.sleep(wait)
        if found.task:
            refuse_unknown(self._preset(), name, found.task)
        self.data[name] = found


def _late(names: Sequence[str]) -> str:
    """Return that trials wait for some tasks, and that the others begin."""
    some, more = ", ".join(names[:NAMED]), len(names) - NAMED
    what = f"{some} and {more} more" if more > 0 else some
    return f"{what}: not ready yet; the other trials begin, and these join when it is"
