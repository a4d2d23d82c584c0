"""Stored sweeps in a home of their own, and what refuses them."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from batchscope.engine.errors import Problem, UsageProblem
from batchscope.engine.experiment.preset import Preset
from batchscope.engine.experiment.preset_catalog import find_preset
from batchscope.engine.journal import file as journal
from batchscope.engine.journal.events import SweepOpened
from batchscope.engine.sweeps.store import LOCK, Launch, create_sweep, home_folder


def home(folder: Path) -> Path:
    return home_folder(str(folder / "home"))


def small(*assignments: str) -> Preset:
    return find_preset("quickstart", ["seeds=1", "grid.batch_size=[8, 16]", *assignments])


def created(folder: Path, name: str = "quickstart", preset: Preset | None = None) -> Path:
    return create_sweep(home(folder), preset or small(f"name={name}"), Launch(preset=name))


def opened(folder: Path, preset: Preset) -> SweepOpened:
    return SweepOpened(
        id=folder.name,
        preset=preset.name,
        title=preset.title,
        question=preset.question,
        source=preset.source,
        configurations=preset.configurations,
    )


def write(folder: Path, *events: Any) -> None:
    writer = journal.Writer(folder / journal.NAME)
    for event in events:
        writer.append(event)
    writer.close()


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the lock as a conductor does."""
    with open(folder / LOCK, "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def refusal(action: Any, kind: type[Problem] = UsageProblem) -> str:
    with pytest.raises(kind) as caught:
        action()
    message = str(caught.value)
    assert message.isprintable()
    return message
