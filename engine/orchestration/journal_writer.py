"""The journal as its only writer keeps it: each fact is stamped, written down and folded.

Where a sweep keeps the checkpoints of its trials follows from its launch.
"""

import asyncio
import contextlib
import time
from asyncio import Future
from collections.abc import Callable
from pathlib import Path

import msgspec

from batchscope.engine.checkpoints import file as checkpoints
from batchscope.engine.checkpoints.remote_store import Store, is_url, open_store
from batchscope.engine.errors import MachineProblem, printable
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.journal import notice
from batchscope.engine.journal.buffered_writer import BufferedWriter
from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.system.clock import SteadyClock

RETRY_SECONDS = 0.5


class JournalWriter:
    """The journal of the sweep in `folder` and its fold, which are never apart.

    Checkpoints lie in the folder too, or in `kept`; `cleared` is called with the path below either
    of those that are not needed any more, and answers with what is to be waited for in the end.
    """

    def __init__(
        self,
        folder: Path,
        kept: Path | None = None,
        cleared: Callable[[str], asyncio.Future[None] | None] = lambda below: None,
    ) -> None:
        self._kept, self._cleared = kept or folder, cleared
        self._clearing = set[asyncio.Future[None]]()
        self.state = SweepState().fold(journal.Reader(folder / journal.NAME).read_all())
        self.clock = SteadyClock(self.state.last_at)
        self.reserved: dict[int, tuple[str, int]] = {}
        """Of each worker: its device, and the bytes that its allocator last said it holds."""
        self._folder, self._notice = folder, notice.NoticeFile(folder)
        self._writer = BufferedWriter(folder / journal.NAME, self._notice.say, self.clock)
        self._last_epochs: dict[str, ev.EpochsFinished] = {}

    def write(self, *facts: ev.AnyEvent) -> None:
        """Write facts down, all of them in one stroke."""
        stamped = [msgspec.structs.replace(fact, at=self.clock()) for fact in facts]
        self._writer.append(*stamped)
        self.state.fold(stamped)

    def heard(self, event: ev.AnyEvent) -> None:
        """Write down what a worker states; what must outlive a power cut is synced."""
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
        """The folder of a job's checkpoints: of a group, or a trial that is trained by itself."""
        return checkpoints.folder_of(self._kept, job)

    def weights_of(self, trial: str) -> Path:
        """The folder of a trial's final weights, where they are kept."""
        return checkpoints.weights_of(self._kept, trial)

    def checkpoints_of(self, trial: str) -> Path:
        """The folder of the checkpoints that a trial is in."""
        return self.kept_in(self.state.job_of(trial))

    def next_attempt(self, job: str, *trials: str) -> int:
        """The next attempt's number, one for all trials of a job: later than any that was kept."""
        latest = checkpoints.latest_header(self.kept_in(job))
        begun = max(self.state.trials[trial].attempt for trial in trials)
        return max(begun, latest.attempt if latest else 0) + 1

    def kept_steps(self, job: str) -> int:
        """Steps that the newest checkpoint of a job holds, or those of the last epochs stated.

        A checkpoint may lie where only the nodes of a cluster see it; its epochs are stated.
        """
        latest = checkpoints.latest_header(self.kept_in(job))
        stated = [
            t.last.steps for t in self.state.trials.values() if t.last and self._is_of(t, job)
        ]
        return max([latest.steps if latest else 0, *stated])

    def _is_of(self, trial: TrialState, job: str) -> bool:
        return not trial.done and self.state.job_of(trial.id) == job

    def clear_away(self) -> None:
        """Remove the checkpoints of what is done; the ends must be on the disk."""
        for trial in self.state.trials.values():
            if trial.done:
                self._clear(trial.id)

    def _clear(self, trial: str) -> None:
        """Remove the checkpoints that a trial was in, once nobody else needs them."""
        state, plan = self.state, self.state.plans.get(trial)
        for job in {trial, plan.group if plan else trial}:
            if all(state.trials[name].done for name in state.members_of(job, trial)):
                checkpoints.remove(self.kept_in(job))
                under_way = self._cleared(self.kept_in(job).relative_to(self._kept).as_posix())
                if under_way:
                    self._clearing.add(under_way)
                    under_way.add_done_callback(self._clearing.discard)

    def _end(self, event: ev.TrialEnded) -> None:
        """Write a trial's end with its last epochs in one stroke: nothing comes between them."""
        last = self._last_epochs.pop(event.trial, None)
        self.write(*([last] if last and last.attempt == event.attempt else []), event)
        if self.sync() and self.state.trials[event.trial].done:
            self._clear(event.trial)

    def lost(self, worker: int, reason: str) -> None:
        """Write down that a worker is gone, and with it what it held."""
        self.reserved.pop(worker, None)
        self.write(ev.WorkerLost(worker=worker, reason=reason))

    def sync(self) -> bool:
        """Have everything written so far on the disk; False where the disk refuses."""
        return self._writer.sync()

    async def keep_trying(self) -> None:
        """Write what a full disk has refused as soon as it takes it again."""
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            if self._writer.behind and self._writer.catch_up() and self.sync():
                self.clear_away()

    async def settled(self, seconds: float) -> bool:
        """Wait so long for everything to be on the disk; whether it is."""
        deadline = time.monotonic() + seconds
        while not self._writer.catch_up(at_once=True) or not self.sync():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(RETRY_SECONDS)
        if self._clearing:
            await asyncio.wait(self._clearing, timeout=max(0.0, deadline - time.monotonic()))
        return True

    def close(self) -> None:
        """Write no more."""
        self._writer.close()


def ledger_of(folder: Path, where: str) -> JournalWriter:
    """The ledger of a sweep whose checkpoints lie with it, or `where` every node of a cluster can
    reach them: in a folder, or at a URL, where what is not needed any more is removed meanwhile.

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
    with contextlib.suppress(Exception):  # what stays there costs room and nothing else
        store.remove(below)
