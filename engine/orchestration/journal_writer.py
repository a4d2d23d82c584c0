"""Writes the journal: stamps each event, appends it to the file and applies it to the state.

This module also knows where a sweep keeps the checkpoints of its trials.
"""

import asyncio
import contextlib
import time
from asyncio import Future
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from batchscope.engine.checkpoints import file as checkpoints
from batchscope.engine.checkpoints.remote_store import Store, is_url, open_store
from batchscope.engine.errors import MachineProblem, printable
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.journal import notice
from batchscope.engine.journal.buffered_writer import BufferedWriter
from batchscope.engine.journal.sweep_state import TrialState
from batchscope.engine.processes import orders
from batchscope.engine.sweeps.stored_journal import load_state
from batchscope.engine.system.clock import SteadyClock

RETRY_SECONDS = 0.5


class JournalWriter:
    """The journal of the sweep in `folder`, and the state that results from it.

    Args:
        folder: the sweep's folder.
        kept: the folder for checkpoints; None for the sweep's folder.
        cleared: called with the relative path of checkpoints that are no longer needed. It may
            return a future that is awaited before the sweep ends.
    """

    def __init__(
        self,
        folder: Path,
        kept: Path | None = None,
        cleared: Callable[[str], asyncio.Future[None] | None] = lambda below: None,
    ) -> None:
        self._kept, self._cleared = kept or folder, cleared
        self._clearing = set[asyncio.Future[None]]()
        self.state = load_state(folder)
        self.clock = SteadyClock(self.state.last_at)
        self.reserved: dict[int, tuple[str, int]] = {}
        """By worker number: its device, and the bytes that its allocator last reported."""
        self._folder, self._notice = folder, notice.NoticeFile(folder)
        self._writer = BufferedWriter(folder / journal.NAME, self._notice.say, self.clock)
        self._last_epochs: dict[str, ev.EpochsFinished] = {}

    def write(self, *facts: ev.AnyEvent) -> None:
        """Stamp events and append them to the journal in one write."""
        stamped = [msgspec.structs.replace(fact, at=self.clock()) for fact in facts]
        self._writer.append(*stamped)
        self.state.fold(stamped)

    def heard(self, event: ev.AnyEvent) -> None:
        """Record an event of a worker; sync those that must survive a power cut."""
        if isinstance(event, ev.Progress) and event.reserved_bytes is not None:
            started = self.state.trials[event.trial].started
            if started:
                self.reserved[started.worker] = (started.device, event.reserved_bytes)
        if self.state.repeats(event):
            return
        if isinstance(event, ev.EpochsFinished) and event.last:
            self._last_epochs[event.trial] = event
            return
        if isinstance(event, ev.TrialEnded):
            self._end(event)
            return
        self.write(event)
        if isinstance(event, ev.Planned | ev.EpochsFinished | ev.Probed):
            self.sync()

    def kept_in(self, job: str) -> Path:
        """Return the checkpoint folder of a job: a group, or a trial that trains alone."""
        return checkpoints.folder_of(self._kept, job)

    def weights_of(self, trial: str) -> Path:
        """Return the folder for a trial's final weights."""
        return checkpoints.weights_of(self._kept, trial)

    def weights_to_keep(self, trials: Iterable[str]) -> dict[str, orders.WeightsOrder]:
        """Return, for the trials with `run.keep_weights`, where their final weights are kept.

        That is always in the sweep's folder, also where checkpoints lie elsewhere.
        """
        opened, kept = self.state.opened, dict[str, orders.WeightsOrder]()
        for name in trials:
            trial = self.state.trials[name]
            if trial.settings.run.keep_weights:
                kept[name] = orders.WeightsOrder(
                    folder=str(checkpoints.weights_of(self._folder, name)),
                    sweep=self._folder.name,
                    preset=opened.preset if opened else "",
                    label=self.state.configurations[trial.configuration].label,
                )
        return kept

    def checkpoints_of(self, trial: str) -> Path:
        """Return the checkpoint folder of the job that a trial belongs to."""
        return self.kept_in(self.state.job_of(trial))

    def next_attempt(self, job: str, *trials: str) -> int:
        """Return the number of the next attempt, the same for all trials of a job.

        It is higher than that of any attempt in the journal or in a checkpoint.
        """
        latest = checkpoints.latest_header(self.kept_in(job))
        begun = max(self.state.trials[trial].attempt for trial in trials)
        return max(begun, latest.attempt if latest else 0) + 1

    def kept_steps(self, job: str) -> int:
        """Return the optimizer steps in a job's newest checkpoint or last recorded epoch.

        On a cluster the checkpoint may be out of sight here, but its epochs are in the journal.
        """
        latest = checkpoints.latest_header(self.kept_in(job))
        stated = [
            t.last.steps for t in self.state.trials.values() if t.last and self._is_of(t, job)
        ]
        return max([latest.steps if latest else 0, *stated])

    def _is_of(self, trial: TrialState, job: str) -> bool:
        return not trial.done and self.state.job_of(trial.id) == job

    def clear_away(self) -> None:
        """Remove the checkpoints of finished trials, once the journal is synced."""
        for trial in self.state.trials.values():
            if trial.done:
                self._clear(trial.id)

    def _clear(self, trial: str) -> None:
        """Remove the checkpoints of a trial's jobs, unless other trials still need them."""
        state, plan = self.state, self.state.plans.get(trial)
        for job in {trial, plan.group if plan else trial}:
            if all(state.trials[name].done for name in state.members_of(job, trial)):
                checkpoints.remove(self.kept_in(job))
                under_way = self._cleared(self.kept_in(job).relative_to(self._kept).as_posix())
                if under_way:
                    self._clearing.add(under_way)
                    under_way.add_done_callback(self._clearing.discard)

    def _end(self, event: ev.TrialEnded) -> None:
        """Write a trial's end and its last epochs in one write, so that a crash loses neither."""
        last = self._last_epochs.pop(event.trial, None)
        self.write(*([last] if last and last.attempt == event.attempt else []), event)
        if self.sync() and self.state.trials[event.trial].done:
            self._clear(event.trial)

    def lost(self, worker: int, reason: str) -> None:
        """Record that a worker was lost, and release the memory reserved for it."""
        self.reserved.pop(worker, None)
        self.write(ev.WorkerLost(worker=worker, reason=reason))

    def sync(self) -> bool:
        """Sync the journal to the disk; return False if the disk refuses."""
        return self._writer.sync()

    async def keep_trying(self) -> None:
        """Keep trying to write the events that a full disk refused."""
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            if self._writer.behind and self._writer.catch_up() and self.sync():
                self.clear_away()

    async def settled(self, seconds: float) -> bool:
        """Wait up to `seconds` until everything is on the disk; return whether it is."""
        deadline = time.monotonic() + seconds
        while not self._writer.catch_up(at_once=True) or not self.sync():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(RETRY_SECONDS)
        if self._clearing:
            await asyncio.wait(self._clearing, timeout=max(0.0, deadline - time.monotonic()))
        return True

    def close(self) -> None:
        """Close the journal."""
        self._writer.close()


def ledger_of(folder: Path, where: str) -> JournalWriter:
    """Return the journal writer of a sweep.

    Args:
        folder: the sweep's folder.
        where: the value of `--checkpoints`: a folder or URL that every node of a cluster can
            reach. If empty, checkpoints lie in the sweep's folder.

    Raises:
        MachineProblem: the place cannot be written to.
    """
    if not where:
        return JournalWriter(folder)
    store = open_store(where)
    try:
        store.mark()
    except Exception as error:  # each store has errors of its own
        raise MachineProblem(f"--checkpoints {printable(where)}: {printable(error)}") from None
    if not is_url(where):
        return JournalWriter(folder, Path(where))

    def cleared(below: str) -> Future[None]:
        return asyncio.get_running_loop().run_in_executor(None, _remove, store, below)

    return JournalWriter(folder, cleared=cleared)


def _remove(store: Store, below: str) -> None:
    with contextlib.suppress(Exception):  # a file that stays there only takes up space
        store.remove(below)
