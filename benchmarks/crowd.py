"""Run ten thousand short trials through one conductor, and find what limits it first.

    python benchmarks/crowd.py [--trials 10000] [--workers 64] [--epochs 3] [--stages]

The conductor is the real one, with its queue, its journal and its disk, as it runs on a cluster.
Only the workers are simulated: each answers an order at once with the events of a trial, without
training. So the result is the highest rate of trials that the conductor can handle. The time to
open a board on the journal is measured too.

With `--stages` the benchmark runs with a tenth, a third and all of the trials, to show what grows
faster than the number of trials.
"""

import argparse
import asyncio
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import msgspec
import psutil
from long_sweep import record
from terminal import Watched

from batchscope.engine.cluster import ray_cluster
from batchscope.engine.conductor import Conductor
from batchscope.engine.experiment.preset import parse_preset
from batchscope.engine.journal import column_cache
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.processes import orders
from batchscope.engine.processes.worker_processes import Reserve
from batchscope.engine.sweeps import commands
from batchscope.engine.sweeps.store import Launch, create_sweep, load_state, take_lock

SIZES = (8, 16, 32, 64, 128, 256, 512, 1024, 1100, 1200)
RATES = tuple(round(0.01 * (n + 1), 2) for n in range(10))


class Figures(NamedTuple):
    """The results of one sweep.

    They are wall-clock and processor seconds, events and bytes of the journal, seconds to read the
    journal, seconds from the command to a board that shows the end, and bytes of memory.
    """

    trials: int
    seconds: float
    cpu: float
    events: int
    size: int
    fold: float
    board: float
    memory: int


class Answering:
    """The link to a simulated worker, which answers every order at once."""

    pid, exit_code, fault = None, None, ""

    def __init__(self, epochs: int) -> None:
        self._epochs, self._said = epochs, asyncio.Queue[bytes]()

    async def send(self, order: orders.AnyOrder) -> None:
        """Prepare the answer to an order."""
        match order:
            case orders.Setup():
                self._say(
                    ev.WorkerReady(
                        worker=order.worker,
                        device=order.device,
                        device_name="cpu on a node",
                        pid=1,
                        threads=1,
                        versions={},
                        seconds=0.0,
                        node="a node",
                    )
                )
            case orders.TrainOrder():
                self._train(order)
            case orders.Ping():
                self._said.put_nowait(orders.ALIVE)

    def _train(self, order: orders.TrainOrder) -> None:
        (trial,) = order.members
        steps = -(-1437 // trial.batch_size)
        records = tuple(record(trial, epoch, self._epochs) for epoch in range(1, self._epochs + 1))
        name, attempt = trial.id, order.attempt
        self._say(
            ev.TrialStarted(
                trial=name,
                attempt=attempt,
                worker=0,
                device="cpu",
                batch_size=trial.batch_size,
                micro_batch_size=trial.batch_size,
                total_steps=steps * self._epochs,
                steps_per_epoch=steps,
                parameters=17_226,
                init_norm=9.0,
                lr=trial.settings.train.lr,
            ),
            ev.EpochsFinished(trial=name, attempt=attempt, records=records, last=True),
            ev.TrialEnded(trial=name, attempt=attempt, status="finished"),
        )

    def _say(self, *events: ev.AnyEvent) -> None:
        for event in events:
            self._said.put_nowait(journal.encode(event) + b"\n")

    async def receive(self) -> bytes:
        """Return the next line of the answer."""
        return await self._said.get()

    def close(self) -> None:
        """Do nothing."""

    kill = close

    async def wait(self) -> int:
        """Return exit code 0."""
        return 0

    async def last_lines(self) -> list[str]:
        """Return an empty log."""
        return []


class Crowd:
    """A simulated cluster with room for `workers` workers."""

    needs = ray_cluster.Needs("CPU", 1)

    def __init__(self, workers: int, epochs: int) -> None:
        self._workers, self._epochs = workers, epochs

    def slots(self) -> int:
        """Return the number of workers."""
        return self._workers

    async def start(self, number: int) -> Answering:
        """Return a new simulated worker."""
        return Answering(self._epochs)

    def leave(self) -> None:
        """Do nothing."""


def sweep_of(home: Path, trials: int, epochs: int) -> Path:
    """Create a sweep of `trials` trials, a multiple of a hundred; return its folder."""
    raw = {
        "title": "A crowd",
        "seeds": trials // (len(SIZES) * len(RATES)),
        "data": {"name": "digits"},
        "model": {"name": "mlp", "hidden": [128, 64]},
        "train": {"epochs": epochs},
        "memory": {"micro_batch_size": 8},
        "run": {"stack": "never"},
        "grid": {"batch_size": list(SIZES), "lr": list(RATES)},
    }
    launch = Launch(preset="crowd", on="auto")
    return create_sweep(home, parse_preset(raw, "crowd", "crowd.toml"), launch)


def conduct(folder: Path) -> None:
    """Run the sweep to its end in this process."""

    async def run() -> None:
        lock = take_lock(folder)
        assert lock is not None
        await Conductor(folder, lock, commands.Inbox(folder), [], Reserve()).run()

    asyncio.run(run())


def measure(trials: int, workers: int, epochs: int) -> Figures:
    """Run one sweep in a separate process and return its results."""
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "sweeps").mkdir()
        (Path(home) / "data").mkdir()
        folder = sweep_of(Path(home), trials, epochs)
        reader, writer = os.pipe()
        began = time.perf_counter()
        child = os.fork()
        if child == 0:
            ray_cluster.join = lambda *_: Crowd(workers, epochs)  # type: ignore[assignment]
            conduct(folder)
            usage = resource.getrusage(resource.RUSAGE_SELF)
            cpu = usage.ru_utime + usage.ru_stime
            os.write(writer, msgspec.json.encode((cpu, psutil.Process().memory_info().rss)))
            os._exit(0)
        os.waitpid(child, 0)
        seconds = time.perf_counter() - began
        cpu, memory = msgspec.json.decode(os.read(reader, 1000), type=tuple[float, int])
        path = folder / journal.NAME
        with open(path, "rb") as lines:
            events = sum(1 for _ in lines)
        began = time.perf_counter()
        state = load_state(folder)
        fold = time.perf_counter() - began
        assert state.count("finished") == trials, "every trial is in the journal"
        column_cache.write(folder)  # as the conductor does at the end
        return Figures(
            trials, seconds, cpu, events, path.stat().st_size, fold, opening(folder), memory
        )


def opening(folder: Path) -> float:
    """Return the seconds from the command to the final counts on a board."""
    home = str(folder.parent.parent)
    board = Watched((160, 45), "attach", folder.name, "--home", home)
    try:
        return board.wait_for("finished", " done")
    finally:
        board.end()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--stages", action="store_true")
    words = parser.parse_args()
    shares = (10, 3, 1) if words.stages else (1,)
    print("trials   seconds  processor  trials/s  events/s  journal   fold, s  board, s  memory")
    for share in shares:
        count = max(100, words.trials // share // 100 * 100)
        figures = measure(count, words.workers, words.epochs)
        print(
            f"{figures.trials:>6,}  {figures.seconds:>8.1f}  {figures.cpu:>9.1f}  "
            f"{figures.trials / figures.seconds:>8.0f}  {figures.events / figures.seconds:>8.0f}  "
            f"{figures.size / 1e6:>5.1f} MB  {figures.fold:>7.2f}  {figures.board:>8.2f}  "
            f"{figures.memory / 2**20:>4.0f} MiB"
        )


if __name__ == "__main__":
    main()
