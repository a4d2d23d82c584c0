"""A stored sweep that ended, and ways to replace one of its files."""

import os
from collections.abc import Callable
from pathlib import Path

from msgspec import structs

from batchscope.engine.journal import events as ev
from batchscope.engine.sweeps.store import LOCK, Launch, create_sweep
from tests.unit.engine.sweeps.store_fixtures import home, opened, small, write

Replacing = Callable[[Path], None]


def finished(folder: Path) -> Path:
    """Return a finished sweep of two trials with one epoch each."""
    preset = small()
    launch = Launch(preset="quickstart", device="cpu", workers=1)
    sweep = create_sweep(home(folder), preset, launch)
    (sweep / LOCK).touch()
    names = [f"{each.id}-s0" for each in preset.configurations]
    opening = opened(sweep, preset)
    opening = structs.replace(opening, claims=preset.claims, notes=preset.notes)
    events: list[ev.AnyEvent] = [opening, ev.ConductorStarted(pid=1, machine={})]
    for name in names:
        events += [started(name), epochs(name, 0.9)]
        events.append(ev.TrialEnded(trial=name, attempt=1, status="finished", at=9.0))
    ending = ev.SweepEnded(state="finished", seconds=3.0, trials=2, finished=2, failed=0, at=10.0)
    write(sweep, *events, ending)
    return sweep


def started(trial: str, attempt: int = 1) -> ev.TrialStarted:
    return ev.TrialStarted(
        trial=trial,
        attempt=attempt,
        worker=0,
        device="cpu",
        batch_size=8,
        micro_batch_size=8,
        total_steps=10,
        steps_per_epoch=10,
        parameters=100,
        init_norm=1.0,
        lr=0.1,
    )


def epochs(trial: str, accuracy: float, *numbers: int) -> ev.EpochsFinished:
    records = tuple(
        ev.EpochRecord(
            epoch=number,
            steps=10 * number,
            samples=80 * number,
            lr=0.1,
            train_loss=0.5,
            train_accuracy=0.9,
            test_loss=0.5,
            test_accuracy=accuracy,
            seconds=1.0,
            epoch_samples=80,
            weight_norm=1.0,
            distance_from_init=0.5,
            norms=(),
        )
        for number in numbers or (1,)
    )
    return ev.EpochsFinished(trial=trial, attempt=1, records=records)


def flipped(path: Path) -> None:
    """Change one bit in the middle of the file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def not_utf8(path: Path) -> None:
    path.write_bytes(b"\xff\xfe" * 50)


def nested(path: Path) -> None:
    path.write_bytes(b'{"preset":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n")


def enlarged(path: Path) -> None:
    """Make the file 100 GB long without using the disk."""
    os.truncate(path, 100 << 30)


def missing(path: Path) -> None:
    path.unlink()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def device(path: Path) -> None:
    """Put a link to a device there: only root can create devices themselves."""
    path.unlink()
    path.symlink_to("/dev/zero")


def link(path: Path) -> None:
    """Put a link to the same content there."""
    other = path.parents[2] / f"of-somebody-else-{path.name}"
    path.rename(other)
    path.symlink_to(other)


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside").write_text("x")


WAYS: tuple[Replacing, ...] = (
    *(flipped, emptied, not_utf8, nested, enlarged, missing),
    *(pipe, device, link, loop, directory),
)
