"""The conductor: the process that runs one sweep. It owns the queue, the journal and the workers.

    python -P -m batchscope.engine.conductor FOLDER [COMMAND...]

It runs in its own session, so the sweep continues when the terminal closes. It holds
`conductor.lock` as long as it or one of its workers lives, and it alone writes the journal. Its
knowledge of the trials is the state that results from the journal.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from batchscope.engine.devices.devices import (
    Device,
    choose_devices,
)
from batchscope.engine.errors import MachineProblem, Problem, printable
from batchscope.engine.experiment.preset import Preset
from batchscope.engine.journal import column_cache
from batchscope.engine.journal import events as ev
from batchscope.engine.journal.fresh_seeds import trials_to_come
from batchscope.engine.orchestration.command_handler import CommandHandler
from batchscope.engine.orchestration.control import Control
from batchscope.engine.orchestration.crew import Crew, WorkerHandle
from batchscope.engine.orchestration.data_preparation import DataPreparation
from batchscope.engine.orchestration.device_watch import watch_devices
from batchscope.engine.orchestration.dispatcher import Dispatcher, crowded, hire, places_for
from batchscope.engine.orchestration.journal_writer import ledger_of
from batchscope.engine.orchestration.placement import Placement
from batchscope.engine.orchestration.staffing import Staff, Staffing
from batchscope.engine.orchestration.sweep_record import SweepRecord
from batchscope.engine.orchestration.trial_queue import TrialQueue
from batchscope.engine.processes.worker_processes import Reserve
from batchscope.engine.sweeps import commands
from batchscope.engine.sweeps.cluster_address import refuse_task
from batchscope.engine.sweeps.store import read_launch, take_lock
from batchscope.engine.sweeps.stored_journal import reader_of
from batchscope.engine.sweeps.sweep_file import read_preset, refuse_other_experiment
from batchscope.engine.system.scarcity import is_scarce
from batchscope.engine.tasks.code_digests import CodeRefused

if TYPE_CHECKING:
    from batchscope.engine.cluster.ray_cluster import Cluster

Work = Coroutine[Any, Any, None]
Done = TypeVar("Done")
CANCEL_PATIENCE_SECONDS = 5.0
POLL_SECONDS = 0.25
DISK_PATIENCE_SECONDS = 10.0
RESUMABLE = "free some space, then run `batchscope resume`"


class Conductor:
    """Runs the sweep in a folder until it has finished, is stopped or fails."""

    def __init__(
        self,
        folder: Path,
        lock: int,
        inbox: commands.Inbox,
        first_commands: Sequence[commands.AnyCommand],
        reserve: Reserve,
    ) -> None:
        self.folder, self._lock, self._inbox, self._reserve = folder, lock, inbox, reserve
        self.launch = read_launch(folder)
        self._ledger = ledger_of(folder, self.launch.checkpoints)
        self.state, self._write = self._ledger.state, self._ledger.write
        self._control = Control()
        self._record = SweepRecord(folder, self.launch, self._ledger)
        preset = read_preset(folder)
        refuse_other_experiment(preset, self.state, folder)
        self._queue = TrialQueue(preset, self._ledger)
        self._preparation = DataPreparation(
            folder, self.launch, self._ledger, self._control, lambda: self.preset
        )
        self._data = self._preparation.data
        self._queue.awaits = lambda: self._preparation.awaited
        self._command_handler = CommandHandler(folder, self._ledger, self._queue, self._control)
        self._dispatcher = Dispatcher(
            self._ledger,
            self._queue,
            self._data,
            self._control,
            self._listen,
            self.launch.memory_limit,
        )
        self._first_commands, self._leaving = first_commands, False

    @property
    def preset(self) -> Preset:
        """The experiment, including batch sizes that were added."""
        return self._queue.preset

    @property
    def _parallel(self) -> int:
        """The most workers that train one trial together."""
        return max(each.settings.run.data_parallel for each in self.preset.configurations)

    async def run(self) -> int:
        """Run the sweep and return its exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stop)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it has no terminal to lose
        try:
            self._open()
            await (self._conduct_on_cluster() if self.launch.clustered else self._conduct_here())
            self._dispatcher.linker.note_hindered()
            code = self._record.close(self._control.stopping)
        except CodeRefused as refusal:  # nothing has failed: it goes on once the code is as it was
            code = self._record.end("stopped", refusal.exit_code, str(refusal))
        except Problem as problem:
            code = self._record.end("failed", problem.exit_code, str(problem))
        except (OSError, RuntimeError) as error:
            if not is_scarce(error):
                raise
            reason = f"the machine, or a limit, refuses more: {printable(str(error))}"
            code = self._record.end("failed", MachineProblem.exit_code, reason)
        if not await self._ledger.settled(DISK_PATIENCE_SECONDS):
            raise MachineProblem(f"the end of the journal could not be written; {RESUMABLE}")
        return code

    async def _conduct_here(self) -> None:
        """Run the sweep on the devices of this machine."""
        devices = choose_devices(self.launch.device)
        try:
            await self._conduct_on(devices)
        except MachineProblem as problem:
            if self.launch.device != "auto" or not self._may_fall_back(devices):
                raise
            self._write(ev.Note(level="warning", text=f"{problem}; training on the CPU"))
            await self._conduct_on(choose_devices("cpu"))

    async def _conduct_on_cluster(self) -> None:
        """Run the sweep on the nodes of a Ray cluster."""
        from batchscope.engine.cluster.ray_cluster import Terms, joined, left

        launch = self.launch
        refuse_task(launch.on, launch.task_folder)
        self._reserve.keep(0)
        terms = Terms(launch.checkpoints, launch.gpu_share, launch.device, self._parallel)

        async def conducting() -> None:
            cluster = await self._unless_stopped(joined(launch.on, self.folder, terms))
            if cluster is None:
                return
            heard, silence = self._ledger.heard, launch.silence_seconds
            crew = Crew(self.folder, self._lock, heard, silence, start=cluster.start)
            try:
                await self._recruit(crew, cluster)
            finally:
                await left(cluster)

        await self._watched(conducting())

    def _may_fall_back(self, devices: list[Device]) -> bool:
        """Return whether the devices were GPUs on which no trial has started."""
        return devices[0].handle is not None and not self.state.count("running", "finished")

    async def _conduct_on(self, devices: list[Device]) -> None:
        """Run the sweep on these devices, and watch commands and memory meanwhile."""
        silence, places = self.launch.silence_seconds, self._places(devices)
        self._reserve.keep(len(places))
        crew = Crew(self.folder, self._lock, self._ledger.heard, silence, self._reserve)
        limit, teams = self.launch.memory_limit, self._parallel > 1
        watching = watch_devices(devices, crew, self._ledger, limit, teams)
        await self._watched(self._conduct(crew, places), watching)

    async def _watched(self, conducting: Work, *more: Work) -> None:
        """Run the sweep, and watch commands and the disk meanwhile."""
        work = asyncio.create_task(conducting)
        watching = (self._obey(), self._ledger.keep_trying(), *more)
        watchers = [asyncio.create_task(each) for each in watching]
        try:
            # a watcher ends only by an error, and then the sweep must end too
            await asyncio.wait({work, *watchers}, return_when=asyncio.FIRST_COMPLETED)
            for task in (work, *watchers):
                if task.done():
                    task.result()
        finally:
            await _cancelled(work, *watchers)

    def stop(self) -> None:
        """Stop the sweep as soon as the workers have answered."""
        self._control.stop()

    def _open(self) -> None:
        self._record.begin(self.preset)
        self._queue.confirm_choices()
        if not self._ledger.sync():
            raise MachineProblem(f"the journal cannot be written; {RESUMABLE}")
        for command in self._first_commands:
            self._command_handler.do(command)

    def _places(self, devices: list[Device]) -> list[Placement]:
        left = sum(not trial.done for trial in self.state.trials.values())
        left += trials_to_come(self.state)
        warning = crowded(devices, self._parallel)
        if warning:
            self._write(ev.Note(level="warning", text=warning))
        workers, alone = self.launch.workers, self._times_alone()
        return places_for(devices, left, workers, alone, self._parallel)

    async def _conduct(self, crew: Crew, places: list[Placement]) -> None:
        """Start the workers while the data are prepared, then hand out all trials."""
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(hire(crew, number, place)) for number, place in enumerate(places)
        ]
        hired: list[asyncio.Task[WorkerHandle]] = list(tasks)
        self._leaving = False
        try:
            if not await self._unless_stopped(self._prepare()):
                return
            self._queue.workers = len(places)
            self._queue.fill(self._data)
            self._ledger.clear_away()
            late = asyncio.create_task(self._preparation.rest(self._join))
            tasks.append(late)
            places, hired = await self._settle(crew, Staff(places, hired))
            while not self._leaving:
                serving = [
                    asyncio.create_task(self._dispatcher.serve(crew, number, first, place))
                    for number, (first, place) in enumerate(zip(hired, places, strict=True))
                ]
                tasks += serving
                together = asyncio.gather(*serving)
                both: set[asyncio.Future[Any]] = {together, late}
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                if late.done():
                    late.result()
                problems = [each for each in await together if each]
                left = self._queue or self._dispatcher.linker or self._queue.awaits()
                self._leaving = self._control.stopping or not left
                if problems and not self._leaving:  # no worker is left to train them
                    raise problems[0]
        finally:
            self._leaving = True
            await _cancelled(*tasks)
            await self._preparation.cancel()
            await crew.dismiss()

    async def _recruit(self, crew: Crew, cluster: "Cluster") -> None:
        """Prepare the data, then hand out all trials to the workers that the cluster places."""
        from batchscope.engine.cluster.autoscaling import Recruiter

        self._leaving = False
        try:
            if not await self._unless_stopped(self._prepare(all_of_it=True)):
                return
            self._queue.fill(self._data)
            self._ledger.clear_away()
            recruiter = Recruiter(
                self._ledger,
                self._queue,
                self._dispatcher,
                crew,
                room=cluster,
                most=1 if self._times_alone() else self.launch.workers,
                control=self._control,
                parallel=self._parallel,
            )
            problems = await recruiter.run()
            left = self._queue or self._dispatcher.linker
            if problems and not self._control.stopping and left:
                raise problems[-1]
        finally:
            self._leaving = True
            await crew.dismiss()

    async def _prepare(self, all_of_it: bool = False) -> bool:
        """Prepare the data of the sweep; what takes long joins later, unless `all_of_it`."""
        await self._preparation.enough(all_of_it)
        return True

    def _join(self) -> None:
        """Queue the trials whose data have just become ready."""
        self._queue.line_up()
        self._control.notify()

    def _times_alone(self) -> bool:
        return any(c.settings.run.timing == "alone" for c in self.preset.configurations)

    async def _settle(self, crew: Crew, staff: Staff) -> Staff:
        """Choose the number of workers, if the user did not set it."""
        if self.launch.workers is None:
            settings = [each.settings for each in self.preset.configurations]
            limited = any(each.memory.limit is not None for each in settings)
            limited = limited or self.launch.memory_limit is not None
            control, alone = self._control, self._times_alone()
            staffing = Staffing(self._ledger, self._queue, self._data, control, limited, alone)
            staff = await staffing.settle(crew, staff)
        if self._queue.workers != len(staff.places):
            self._queue.workers = len(staff.places)
            self._queue.line_up()
        return staff

    async def _unless_stopped(self, work: Coroutine[Any, Any, Done]) -> Done | None:
        """Await `work` and return its result; return None if a stop came first."""
        task, stop = asyncio.create_task(work), asyncio.create_task(self._control.stopped())
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return None

    async def _obey(self) -> None:
        """Keep executing the user's commands."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            self._listen()

    def _listen(self) -> None:
        """Execute the commands that have arrived; ignore them once the workers are ending."""
        if self._leaving:
            return
        with suppress(OSError):  # no file can be opened at present: the next look finds them
            for command in self._inbox.take():
                self._command_handler.do(command)


async def _cancelled(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel tasks and wait up to `CANCEL_PATIENCE_SECONDS` for their end."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=CANCEL_PATIENCE_SECONDS)


async def conduct(folder: Path, words: Sequence[str], reserve: Reserve) -> int:
    """Run the sweep in a folder, after the commands in `words`; return only if it cannot be run."""
    inbox = commands.Inbox(folder)  # before the lock: later commands are for this conductor
    first_commands = [commands.decode(os.fsencode(word)) for word in words]
    try:
        lock = take_lock(folder)
        if lock is None:
            for command in first_commands:
                commands.send(folder, command)
            _log(f"{folder.name}: another conductor runs this sweep")
            return 0
        await _to_the_end(Conductor(folder, lock, inbox, first_commands, reserve))
    except Problem as problem:
        _log(str(problem))
        return problem.exit_code
    except OSError as error:
        _log(f"the sweep's folder cannot be used: {error}")
        return MachineProblem.exit_code
    return 0


async def _to_the_end(conductor: Conductor) -> None:
    """Run the sweep, then exit at once without waiting for threads and tasks."""
    code = await conductor.run()
    with suppress(OSError):  # the cache only saves reading the journal
        column_cache.write(conductor.folder, reader_of(conductor.folder))
    os._exit(code)


def _log(text: str) -> None:
    """Write a line to the log, if the disk has room for it."""
    with suppress(OSError):
        os.write(1, f"{text}\n".encode("utf-8", "replace"))


def main() -> int:
    """Run the sweep in the folder of the first argument, after the commands in the others."""
    os.umask(0o077)  # for its workers too: other users must not read what they write
    return asyncio.run(conduct(Path(sys.argv[1]).absolute(), sys.argv[2:], Reserve()))


if __name__ == "__main__":
    sys.exit(main())
