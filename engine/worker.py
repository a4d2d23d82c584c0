"""The worker process: it takes orders on stdin, trains, and writes events to stdout.

    python -P -m batchscope.engine.worker [DESCRIPTOR | --carried DESCRIPTOR]

It trains one trial after another and ends when its stdin ends, that is, when its conductor is gone.
Only events go to descriptor 1; what a library prints goes to the log.

With the DESCRIPTOR of a socket, it loads the libraries at once at the lowest priority, and waits
until it gets a sweep's lock and log through the socket.
"""

import contextlib
import faulthandler
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchscope.engine.data.validation_split import validation_size
from batchscope.engine.errors import Problem, printable
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.journal.events import (
    AnyEvent,
    EpochsFinished,
    Interpolated,
    TrialEnded,
    TrialStatus,
    WorkerLost,
    WorkerReady,
)
from batchscope.engine.processes import orders
from batchscope.engine.processes.descriptor_passing import adopt
from batchscope.engine.processes.fresh_start import FLAG, carried_orders, start_afresh
from batchscope.engine.system.background import in_background
from batchscope.engine.system.scarcity import is_scarce
from batchscope.engine.task_table import TaskTable
from batchscope.engine.tasks.code_digests import CodeRefused
from batchscope.engine.training.jobs.order_inbox import OrderInbox
from batchscope.engine.training.tasks.fork_guard import leave_if_child

if TYPE_CHECKING:
    from batchscope.engine.training.batches import Images, TrainingData
    from batchscope.engine.training.data_parallel.leader import Team
    from batchscope.engine.training.tasks.worker_task import WorkerTask


class Worker:
    """The state of a worker process, which trains on one device."""

    def __init__(self, events: int) -> None:
        self._events, self._unsaid = events, b""
        self._writing = threading.Lock()
        self._orders = OrderInbox(self._write)
        self._ended: set[str] = set()
        self._setup: orders.Setup | None = None
        self._images: tuple[tuple[str, int], Images] | None = None
        self._team: Team | None = None
        self._task: WorkerTask | None = None
        self._order: orders.Work | None = None
        self._environment = dict(os.environ)
        self._renewed = False
        """Whether this program continues a worker that has run a person's code."""
        self._team_works = False
        """Whether the thread that trains may be waiting for its team."""

    def serve(self, channel: int | None = None, carried: int | None = None) -> None:
        """Execute orders until stdin ends.

        Args:
            channel: the descriptor of a socket; orders are executed after a sweep's lock and log
                have arrived through it.
            carried: the descriptor of orders that an earlier program of this process has taken.
        """
        if carried is not None:
            self._renewed = True
            for order in carried_orders(carried):
                assert isinstance(order, orders.Setup | orders.Work)
                self._orders.put(order)
        self._orders.listen()
        if channel is not None:
            import numpy  # noqa: F401 (first, so that its threads have normal priority)

            in_background(_load_libraries)
            with socket.socket(fileno=channel) as ours:
                if not adopt(ours):
                    os._exit(0)
        while True:
            order = self._orders.get()
            if self._task is not None and not isinstance(order, orders.Setup):
                self._renew(order)
            match order:
                case orders.Setup():
                    self._set_up(order)
                case orders.Measure():
                    self._attempt(order, self._measure)
                case orders.Pace():
                    self._attempt(order, self._pace)
                case orders.TrainOrder():
                    self._attempt(order, self._train)
                case orders.Interpolate():
                    self._attempt(order, self._interpolate)

    def _renew(self, *first: orders.Work) -> None:
        """Start afresh before other orders, because a person's code has run in this program."""
        assert self._setup is not None
        with self._orders.reading, self._writing:  # no line is half read or half written
            taken = [self._setup, *first, *self._orders.all()]
            start_afresh(self._events, taken, self._environment)

    def _leave(self, reason: str) -> None:
        """Fail the trials of the order: a person's code ends the process. Then start afresh."""
        with contextlib.suppress(OSError):  # the disk of the log may be full
            print(printable(reason), file=sys.stderr, flush=True)
        if self._order is not None:
            self._end(self._order, "failed", printable(reason))
        with contextlib.suppress(OSError):  # the process ends, and the conductor starts another
            self._renew()

    def state(self, event: AnyEvent) -> None:
        """Send an event to the conductor; a trial's last epochs are sent together with its end."""
        if isinstance(event, TrialEnded):
            self._ended.add(event.trial)
        loaded = self._task.loaded_lately() if self._task else None
        self._unsaid += journal.encode(loaded) + b"\n" if loaded else b""
        self._unsaid += journal.encode(event) + b"\n"
        if isinstance(event, EpochsFinished) and event.last:
            return
        lines, self._unsaid = self._unsaid, b""
        self._write(lines)

    def _write(self, lines: bytes) -> None:
        """Write whole lines; the training thread and the listening thread take turns."""
        leave_if_child()
        left = memoryview(lines)
        with self._writing:
            while left:
                left = left[os.write(self._events, left) :]

    def _set_up(self, order: orders.Setup) -> None:
        began = time.perf_counter()
        self._setup = order
        from batchscope.engine.training.jobs.worker_setup import set_up

        found = set_up(order, self._renewed, began)
        if isinstance(found, WorkerReady) and self._renewed:  # the conductor knows it
            return
        self.state(found)
        if isinstance(found, WorkerLost):
            os._exit(3)

    def _attempt(self, order: orders.Work, work: Callable[[Any], None]) -> None:
        """Execute an order on a group; an error fails its trials, unless the device caused it.

        If memory runs out during an update, half of the update may be done. This process then
        ends, and another resumes the training from its last checkpoint. The same happens if the
        team of a data-parallel trial falls apart, if a loader process is killed, or for lack of
        open files or processes.
        """
        from batchscope.engine.training.cancellation import Halted
        from batchscope.engine.training.data_parallel.exchange import TeamLost
        from batchscope.engine.training.peak_memory import ran_out
        from batchscope.engine.training.tasks.loader_processes import LoaderLost
        from batchscope.engine.training.torch_device import device_failed

        assert self._setup is not None
        self._ended.clear()
        self._order = order
        try:
            work(order)
        except Halted:
            self._end(order, "stopped", "")
        except CodeRefused as refusal:  # the conductor stops the sweep
            self.state(ev.CodeRefused(reason=printable(str(refusal)), files=refusal.files))
        except BaseException as error:
            leave_if_child()
            theirs = self._task is not None and not isinstance(error, KeyboardInterrupt)
            if not isinstance(error, Exception) and not theirs:
                raise
            lost = isinstance(error, TeamLost | LoaderLost)
            reason = self._task.explained(error) if self._task else _error_text(error)
            if isinstance(error, Problem) and error.__cause__:
                error = error.__cause__  # what a person's code raised
            with contextlib.suppress(OSError):  # the disk of the log may be full
                if not lost:  # else the cause is in the lines above: why another worker ended
                    traceback.print_exc()
                if lost or self._task:  # last, where the conductor looks
                    print(reason, file=sys.stderr, flush=True)
            if device_failed(error):
                fault = f"{self._setup.device}: {reason}"
                self.state(WorkerLost(worker=self._setup.worker, reason=fault))
                os._exit(3)  # at once: a clean exit may hang on the broken device
            short = isinstance(order, orders.TrainOrder | orders.Interpolate) and ran_out(error)
            if lost or short or is_scarce(error):
                os._exit(1)  # the conductor reads the reason from the end of the log
            self._end(order, "failed", reason)
        finally:
            self._team_works, self._order = False, None

    def _end(self, order: orders.Work, status: TrialStatus, reason: str) -> None:
        """Send the end of every trial of an order that has not ended."""
        if isinstance(order, orders.Interpolate):  # its trials have ended before
            start, end = (member.id for member in order.members)
            self.state(Interpolated(start=start, end=end, reason=reason))
            return
        for name in orders.awaited(order):
            if name not in self._ended:
                self.state(
                    TrialEnded(trial=name, attempt=order.attempt, status=status, reason=reason)
                )

    def _measure(self, order: orders.Measure) -> None:
        import torch

        from batchscope.engine.training.jobs.micro_batch_bench import measure

        assert self._setup is not None
        device = torch.device(self._setup.device)
        self.state(measure(order, self._open(order), device, self._orders.halted))

    def _pace(self, order: orders.Pace) -> None:
        import torch

        from batchscope.engine.training.jobs.stack_bench import pace

        assert self._setup is not None
        device, number = torch.device(self._setup.device), self._setup.worker
        self.state(pace(order, self._open(order), device, number, self._orders.halted))

    def _train(self, order: orders.TrainOrder) -> None:
        from batchscope.engine.training.trainer.job import TrainingJob
        from batchscope.engine.training.trainer.trainer import Trainer

        assert self._setup is not None
        job = TrainingJob(
            order.members,
            order.active,
            order.plan,
            order.attempt,
            self._setup.worker,
            self._setup.device,
            Path(order.checkpoints) if order.checkpoints else None,
            order.data.digest,
            {trial: Path(folder) for trial, folder in order.weights.items()},
            self._team_for(order),
            order.kept,
        )
        images, halted = self._open(order), self._orders.halted
        Trainer(
            job, images, self.state, halted, self._orders.pause, lambda: self._orders.dropped
        ).run()

    def _team_for(self, order: orders.TrainOrder) -> "Team | None":
        """Return the team that trains the trial with this worker; keep it for later trials."""
        from batchscope.engine.training.data_parallel.leader import start_team

        assert self._setup is not None
        size = order.plan.data_parallel
        if size == 1:
            return None
        self._team_works = True
        if self._team is not None and (self._team.broken or self._team.size != size):
            self._team.end()
            self._team = None
        if self._team is None:
            spec, device, silence = self._setup.team, self._setup.device, self._setup.silence
            self._team = start_team(size, spec, device, silence, self._lose_team)
        self._team.begin(order.members[0], order.plan, order.data)
        return self._team

    def _lose_team(self, reason: str) -> None:
        """Give up the team; end the process if it trains, since it may wait for the team for ever.

        This is called in another thread. The conductor reads the reason from the end of the log.
        """
        if self._team is not None:
            self._team.broken = True
        if self._team_works:
            with contextlib.suppress(OSError):
                print(f"TeamLost: {reason}", file=sys.stderr, flush=True)
            with self._writing:  # after a whole line
                os._exit(1)

    def _interpolate(self, order: orders.Interpolate) -> None:
        import torch

        from batchscope.engine.training.cancellation import raise_if
        from batchscope.engine.training.jobs.interpolation import interpolate

        assert self._setup is not None

        def go_on() -> None:
            self._orders.pause.wait()
            raise_if(self._orders.halted)

        torch.set_num_threads(order.plan.threads)
        device = torch.device(self._setup.device)
        self.state(interpolate(order, self._open(order), device, go_on))

    def _open_task(self, order: orders.Work, table: TaskTable, held: int) -> "TrainingData":
        """Return the data of a trial's task, made with the seed of the trial."""
        import torch

        from batchscope.engine.training.tasks.worker_task import WorkerTask

        assert self._setup is not None

        def said(text: str) -> None:
            names = orders.awaited(order)
            note = ev.Note(text=printable(text), level="warning", trial=names[0] if names else "")
            self._write(journal.encode(note) + b"\n")

        self._task = WorkerTask(
            table, order.data.folder, self._events, self._setup.silence, said, self._leave
        )
        return self._task.opened(order, held, torch.device(self._setup.device))

    def _open(self, order: orders.Work) -> "TrainingData":
        """Return the images of an order's data set, loaded once for all trials that use it."""
        import torch

        from batchscope.engine.training.batches import load_images

        assert self._setup is not None
        held = validation_size(order.members[0].settings.data, order.data.train)
        if table := order.members[0].settings.task:
            return self._open_task(order, table, held)
        key = (order.data.folder, held)
        if self._images is None or self._images[0] != key:
            self._images = None
            images = load_images(order.data, torch.device(self._setup.device), held)
            self._images = (key, images)
        return self._images[1]


def _load_libraries() -> None:
    """Import the libraries for training, before the sweep and the device are known."""
    import batchscope.engine.training.jobs.micro_batch_bench
    import batchscope.engine.training.jobs.stack_bench
    import batchscope.engine.training.trainer.trainer  # noqa: F401
    from batchscope.engine.training.trainer.optimizers import load_optimizers

    load_optimizers()


def _error_text(error: BaseException) -> str:
    text = " ".join(str(error).split())[:500]
    return printable(text if isinstance(error, Problem) else f"{type(error).__name__}: {text}")


def main() -> None:
    """Run the worker until stdin ends."""
    events = os.dup(1)
    os.dup2(2, 1)
    faulthandler.enable(all_threads=False)  # the log names the line of a crash
    try:
        worker, words = Worker(events), sys.argv[1:]
        if words[:1] == [FLAG]:
            worker.serve(carried=int(words[1]))
        else:
            worker.serve(int(words[0]) if words else None)
    except BrokenPipeError:  # the conductor is gone
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # at once, since the listening thread is blocked on stdin


if __name__ == "__main__":
    main()
