"""Measure the cost of listing stored sweeps, which the menu does every three seconds.

    python benchmarks/listing.py [--sweeps 300] [--trials 200] [--epochs 20]

The program writes simulated sweeps into a temporary home; two are running and eight interrupted. It
prints wall-clock and processor seconds of the first listing, and the median of the next ones.
"""

import argparse
import fcntl
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.spec import Configuration, Data, Model, Settings, Train, trials_of
from batchscope.engine.sweeps.listing import Listing
from batchscope.engine.sweeps.store import LAUNCH, LOCK, SWEEP, Launch

RUNNING, INTERRUPTED = 2, 8
SEEDS = 5


def configurations(trials: int) -> tuple[Configuration, ...]:
    return tuple(
        Configuration(
            id=f"b{size}",
            label=str(size),
            settings=Settings(
                data=Data(name="digits"),
                model=Model(name="mlp", hidden=(128, 64)),
                train=Train(batch_size=size, lr=0.1, epochs=20),
            ),
            seeds=tuple(range(SEEDS)),
        )
        for size in range(1, trials // SEEDS + 1)
    )


def lines(name: str, chosen: tuple[Configuration, ...], epochs: int, whole: bool) -> list[bytes]:
    """Return the lines of a journal of these configurations, up to its end if `whole`."""
    norms = ev.NormSlice(0, 100, 1.0, 9.0, 200, tuple(range(1, 25)))
    record = ev.EpochRecord(
        epoch=1, steps=100, samples=1437, lr=0.1, train_loss=0.5, train_accuracy=0.9,
        test_loss=0.5, test_accuracy=0.9, seconds=0.1, epoch_samples=1437, weight_norm=10.0,
        distance_from_init=1.0, norms=(norms, norms),
    )  # fmt: skip
    events: list[ev.AnyEvent] = [
        ev.JournalOpened(version=1, program="0"),
        ev.SweepOpened(
            id=name,
            preset="made-up",
            title="Made up",
            question="?",
            source="",
            configurations=chosen,
        ),
        ev.ConductorStarted(pid=1, machine={}),
    ]
    trials = [trial for configuration in chosen for trial in trials_of(configuration)]
    for trial in trials:
        events.append(
            ev.TrialStarted(
                trial=trial.id, attempt=1, worker=0, device="cpu", batch_size=8, micro_batch_size=8,
                total_steps=100, steps_per_epoch=5, parameters=9, init_norm=1.0, lr=0.1,
            )
        )  # fmt: skip
        for epoch in range(1, epochs + 1):
            one = msgspec.structs.replace(record, epoch=epoch)
            events.append(ev.EpochsFinished(trial=trial.id, attempt=1, records=(one,)))
        events.append(ev.TrialEnded(trial=trial.id, attempt=1, status="finished"))
    if whole:
        events.append(
            ev.SweepEnded(
                state="finished", seconds=9.0, trials=len(trials), finished=len(trials), failed=0
            )
        )
    return [journal.encode(msgspec.structs.replace(event, at=1.8e9)) for event in events]


def write(home: Path, sweeps: int, trials: int, epochs: int) -> list[int]:
    """Write the sweeps, newest last; return the descriptors that lock the running ones."""
    chosen = configurations(trials)
    held = []
    for number in range(sweeps):
        left = sweeps - number
        folder = home / "sweeps" / f"20270101-{number:06d}-made-up"
        folder.mkdir(parents=True)
        (folder / LAUNCH).write_bytes(msgspec.json.encode(Launch(preset="made-up")))
        (folder / SWEEP).write_text('title = "Made up"\n')
        entries = lines(folder.name, chosen, epochs, left > RUNNING + INTERRUPTED)
        (folder / journal.NAME).write_bytes(b"\n".join(entries) + b"\n")
        if left <= RUNNING:
            held.append(os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600))
            fcntl.flock(held[-1], fcntl.LOCK_EX)
    return held


def cost(what: Callable[[], object]) -> tuple[float, float]:
    """Return the wall-clock and processor seconds of one listing."""
    wall, processor = time.perf_counter(), time.process_time()
    what()
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sweeps", type=int, default=300)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=20)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        held = write(home, words.sweeps, words.trials, words.epochs)
        listing = Listing(home)
        first = cost(listing.look)
        later = [cost(listing.look) for _ in range(9)]
        for descriptor in held:
            os.close(descriptor)
    again = [statistics.median(each) for each in zip(*later, strict=True)]
    for name, (wall, processor) in (("first look", first), ("looking again", again)):
        print(f"{name:<14} {wall:.4f} s, {processor:.4f} s of processor")


if __name__ == "__main__":
    main()
