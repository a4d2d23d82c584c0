"""The conductor of one sweep: it owns the queue, the journal and the workers.

    python -P -m engine.conductor FOLDER

It lives in a session of its own, so that closing the terminal costs the sweep nothing, holds
`conductor.lock` for as long as it or any of its workers lives, and is the journal's only
writer. Everything it knows of the trials is the fold of what it has written.
"""

import asyncio
import fcntl
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import msgspec

from engine import commands, journal, orders
from engine import events as ev
from engine.catalog import LOCK, SWEEP, read_launch
from engine.crew import Crew, Member
from engine.devices import Device, choose_devices, cores, machine
from engine.drawn import competing_pairs
from engine.plan import full_batch, reusable
from engine.planning import Place, Planner
from engine.prepared import Prepared
from engine.preparing import fetch
from engine.problems import MachineProblem, Problem
from engine.reading import Preset, load_preset
from engine.spec import Trial, trials_of
from engine.state import SweepState
from engine.watching import MemoryWatch

LOCK_PATIENCE_SECONDS = 3.0
CANCEL_PATIENCE_SECONDS = 5.0
POLL_SECONDS = 0.25
MEMORY_SECONDS = 2.0


class Conductor:
    """Runs the sweep in a folder to its end, to a stop, or to a problem."""

    def __init__(self, folder: Path, lock: int, inbox: commands.Inbox) -> None:
        self.folder, self._lock, self._inbox = folder, lock, inbox
        self.launch = read_launch(folder)
        self.preset: Preset = load_preset(folder / SWEEP)
        self.state = SweepState().fold(journal.Reader(folder / journal.NAME).read_all())
        self._writer = journal.Writer(folder / journal.NAME)
        self._began = time.monotonic()
        self._queue: deque[Trial] = deque()
        self._stopping = asyncio.Event()
        self._reserved: dict[int, tuple[str, int]] = {}
        self._data: dict[str, Prepared] = {}
        self._planner = Planner(self.state, self._heard, self._stopping, self.launch.memory_limit)

    async def run(self) -> int:
        """Conduct; returns the sweep's exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stop)
        self._open()
        try:
            devices = choose_devices(self.launch.device)
            try:
                await self._conduct_on(devices)
            except MachineProblem as problem:
                if self.launch.device != "auto" or not self._may_fall_back(devices):
                    raise
                self._write(ev.Note(level="warning", text=f"{problem}; training on the CPU"))
                await self._conduct_on(choose_devices("cpu"))
            return self._close()
        except Problem as problem:
            return self._end("failed", problem.exit_code, str(problem))
        finally:
            self._writer.close()

    def _may_fall_back(self, devices: list[Device]) -> bool:
        """Whether these were GPUs that torch could not use: nothing has begun on them."""
        return devices[0].handle is not None and not self.state.count("running", "finished")

    async def _conduct_on(self, devices: list[Device]) -> None:
        """Conduct on these devices, listening for commands and watching memory meanwhile."""
        crew = Crew(self.folder, self._lock, self._heard)
        work = asyncio.create_task(self._conduct(crew, *self._slots(devices)))
        watchers = [
            asyncio.create_task(self._obey()),
            asyncio.create_task(self._watch_memory(devices, crew)),
        ]
        try:
            # a watcher ends only by an error, and nobody may go on unwatched
            await asyncio.wait({work, *watchers}, return_when=asyncio.FIRST_COMPLETED)
            for task in (work, *watchers):
                if task.done():
                    task.result()
        finally:
            await _cancelled(work, *watchers)

    def stop(self) -> None:
        """End the sweep as soon as the workers have answered."""
        self._stopping.set()

    def _open(self) -> None:
        if self.state.opened is None:
            self._write(
                ev.SweepOpened(
                    id=self.folder.name,
                    preset=self.preset.name,
                    title=self.preset.title,
                    question=self.preset.question,
                    source=self.preset.source,
                    configurations=self.preset.configurations,
                    notes=self.preset.notes,
                    claims=self.preset.claims,
                )
            )
        self._write(ev.ConductorStarted(pid=os.getpid(), machine=machine()))
        self._writer.sync()

    def _slots(self, devices: list[Device]) -> tuple[list[Device], int]:
        """A device for each worker, and the threads of one.

        A GPU has one worker. On a CPU there is one a core, since a network this small gains
        nothing from a second thread; the threads left over by few trials are shared out.
        """
        left = sum(not trial.done for trial in self.state.trials.values())
        alone = any(c.settings.run.timing == "alone" for c in self.preset.configurations)
        if devices[0].handle is not None:
            count = min(self.launch.workers or len(devices), left)
            places = [devices[index % len(devices)] for index in range(count)]
            return places[: 1 if alone else None], 1
        count = max(1, min(self.launch.workers or cores(), left))
        count = 1 if alone else count
        return devices * count, max(1, cores() // count)

    async def _conduct(self, crew: Crew, slots: list[Device], threads: int) -> None:
        """Start the workers while the data come, then hand out trials until none is left."""
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(crew.hire(number, device.name, threads))
            for number, device in enumerate(slots)
        ]
        hired = list(tasks)
        try:
            if not await self._unless_stopped(self._prepare()):
                return
            self._fill_queue()
            places = [Place(device, slots.count(device), threads) for device in slots]
            serving = [
                asyncio.create_task(self._serve(crew, number, first, place))
                for number, (first, place) in enumerate(zip(hired, places, strict=True))
            ]
            tasks += serving
            problems = await asyncio.gather(*serving)
            if self._queue and not self._stopping.is_set():  # nobody is left to train them
                raise next(problem for problem in problems if problem)
        finally:
            await _cancelled(*tasks)
            await crew.dismiss()

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Await work that a stop may cut short; whether it was done."""
        task, stop = asyncio.create_task(work), asyncio.create_task(self._stopping.wait())
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if task.done():
            task.result()
            return True
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return False

    async def _prepare(self) -> None:
        """Have every data set of the sweep prepared, and write down what it is."""
        home = self.folder.parent.parent
        for name in dict.fromkeys(c.settings.data.name for c in self.preset.configurations):
            data = await fetch(name, home, self.launch.data_dir, self._write)
            before = self.state.data.get(name)
            if before and before.digest != data.digest:
                raise MachineProblem(
                    f"{name}: the images are not those that this sweep began with; "
                    "start a new sweep to train on them"
                )
            self._data[name] = data
            if not before:
                self._write(
                    ev.DataReady(
                        name=name,
                        train=data.train,
                        test=data.test,
                        shape=data.shape,
                        digest=data.digest,
                    )
                )

    def _fill_queue(self) -> None:
        """Line up every trial left to do, one seed of all configurations after the other."""
        by_seed = sorted(
            (trial for c in self.preset.configurations for trial in trials_of(c)),
            key=lambda trial: trial.seed,
        )
        self._queue.clear()
        recorded_plans = {plan.members: (plan,) for plan in self.preset.plans}
        first_of: dict[bytes, Trial] = {}
        for trial in by_seed:
            trial_state = self.state.trials[trial.id]
            if trial_state.done:
                continue
            size = self._data[trial.settings.data.name].train
            twin = first_of.setdefault(_essence(trial, size), trial)
            if twin is not trial:
                reason = f"with {size:,} training images it is the same as {twin.id}"
                self._write(
                    ev.TrialEnded(trial=trial.id, attempt=0, status="skipped", reason=reason)
                )
                continue
            recorded = reusable(recorded_plans.get((trial.id,), ()), trial, size)
            if trial.id not in self.state.plans and recorded:
                self._write(ev.Planned(plan=recorded))
            if trial.seed == 0 and not trial_state.attempt:
                for text in _too_large(trial, size):
                    self._write(ev.Note(level="warning", text=text, trial=trial.id))
            self._queue.append(trial)
        self._writer.sync()

    async def _serve(
        self,
        crew: Crew,
        number: int,
        first: "asyncio.Task[Member]",
        place: Place,
    ) -> MachineProblem | None:
        """Give one worker trial after trial, and replace it where it dies.

        Returns why no worker could be had for this slot, if none could: then the others go on.
        """
        hiring = first
        while True:
            try:
                member = await hiring
            except MachineProblem as problem:
                self._write(ev.WorkerLost(worker=number, reason=str(problem)))
                return problem
            if await self._keep_busy(member, place) or not self._queue or self._stopping.is_set():
                return None
            hiring = asyncio.create_task(crew.hire(number, place.device.name, place.threads))

    async def _keep_busy(self, member: Member, place: Place) -> bool:
        """Give a worker trials until none is left or it should stop; False if it was lost."""
        while self._queue and not self._stopping.is_set():
            trial = self._queue.popleft()
            attempt = self.state.trials[trial.id].attempt + 1
            data = self._data[trial.settings.data.name]
            lost = await self._planner.settle(member, place, trial, attempt, data)
            if lost is None and trial.id in self.state.plans:
                order = orders.Train(trial, self.state.plans[trial.id], attempt, data)
                lost = await member.work(order, self._heard, self._stopping)
            if lost is None:
                continue
            self._reserved.pop(member.number, None)
            self._write(ev.WorkerLost(worker=member.number, reason=lost))
            status: ev.TrialStatus = "stopped" if self._stopping.is_set() else "failed"
            self._heard(ev.TrialEnded(trial=trial.id, attempt=attempt, status=status, reason=lost))
            return False
        return True

    def _heard(self, event: ev.AnyEvent) -> None:
        """Write down what a worker states; what must outlive a power cut is synced."""
        if isinstance(event, ev.Progress) and event.reserved_bytes is not None:
            started = self.state.trials[event.trial].started
            if started:
                self._reserved[started.worker] = (started.device, event.reserved_bytes)
        self._write(event)
        if isinstance(event, ev.EpochsFinished | ev.Probed | ev.TrialEnded):
            self._writer.sync()

    def _write(self, event: ev.AnyEvent) -> None:
        stamped = msgspec.structs.replace(event, at=time.time())
        self._writer.append(stamped)
        self.state.apply(stamped)

    async def _obey(self) -> None:
        """Take what people ask for."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            for command in self._inbox.take():
                match command:
                    case commands.Stop():
                        self.stop()

    async def _watch_memory(self, devices: list[Device], crew: Crew) -> None:
        watch = MemoryWatch(list(dict.fromkeys(devices)), self.launch.memory_limit)
        while True:
            reserved = {device.name: 0 for device in devices}
            for name, held in self._reserved.values():
                reserved[name] = reserved.get(name, 0) + held
            # in a thread: the driver of a card that is not well can take seconds to answer
            for sample in await asyncio.to_thread(watch.changed, crew.pids, reserved):
                self._write(sample)
            await asyncio.sleep(MEMORY_SECONDS)

    def _close(self) -> int:
        if self._stopping.is_set() and not all(t.done for t in self.state.trials.values()):
            return self._end("stopped", 130)
        if self.state.count("failed"):
            return self._end("failed", 1)
        return self._end("finished", 0)

    def _end(self, state: ev.SweepEnding, exit_code: int, reason: str = "") -> int:
        for trial in self.state.trials.values():
            if trial.status == "running":  # its worker was dismissed in the middle of it
                self._write(ev.TrialEnded(trial=trial.id, attempt=trial.attempt, status="stopped"))
        self._write(
            ev.SweepEnded(
                state=state,
                seconds=time.monotonic() - self._began,
                trials=len(self.state.trials),
                finished=self.state.count("finished"),
                failed=self.state.count("failed"),
                reason=reason,
                exit_code=exit_code,
            )
        )
        return exit_code


def _too_large(trial: Trial, train_size: int) -> Iterator[str]:
    """What of a trial is more than there are images for."""
    if trial.batch_size > train_size:
        yield full_batch(trial.batch_size, train_size)
    held = competing_pairs(trial.settings, train_size)
    for small, large in trial.settings.probe.pairs:
        if (small, large) not in held:
            yield f"no competition of {small:,} with {large:,}: there are {train_size:,} images"


def _essence(trial: Trial, train_size: int) -> bytes:
    """What decides a trial's arithmetic: its settings with the batch the data allow, its seed."""
    train = trial.settings.train
    cut = msgspec.structs.replace(train, batch_size=min(train.batch_size, train_size))
    return msgspec.json.encode((msgspec.structs.replace(trial.settings, train=cut), trial.seed))


async def _cancelled(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel tasks and wait until they are gone; one that will not go is left behind."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=CANCEL_PATIENCE_SECONDS)


def take_lock(folder: Path) -> int | None:
    """Hold the sweep's lock; None if another conductor keeps it.

    A viewer that asks whether the sweep lives touches the lock for a moment, hence the retries.
    """
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + LOCK_PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except OSError:
            if time.monotonic() > deadline:
                os.close(lock)
                return None
            time.sleep(0.02)


def main() -> int:
    """Conduct the sweep of the folder in the first argument."""
    folder = Path(sys.argv[1]).absolute()
    inbox = commands.Inbox(folder)  # before the lock: from then on commands are for us
    lock = take_lock(folder)
    if lock is None:
        print(f"{folder.name}: another conductor runs this sweep", flush=True)
        return 0
    try:
        asyncio.run(_conduct(folder, lock, inbox))
    except Problem as problem:
        print(problem, flush=True)
        return problem.exit_code
    except OSError as error:
        print(f"the disk refused: {error}", flush=True)
        return MachineProblem.exit_code
    return 0


async def _conduct(folder: Path, lock: int, inbox: commands.Inbox) -> None:
    """Run the sweep and leave at once: what may still be waiting has nothing more to say."""
    code = await Conductor(folder, lock, inbox).run()
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
