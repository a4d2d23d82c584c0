"""The texts of a headless run: a log line of every kind of event, progress rows, a summary."""

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.planning.micro_batch import Shape
from batchscope.engine.planning.stacking import StackTiming
from batchscope.engine.spec import Claim, Selection
from batchscope.engine.sweeps.store import LAUNCH, SWEEP, Launch
from batchscope.tui.headless.follower import HeadlessFollower
from batchscope.tui.headless.log_lines import Log
from batchscope.tui.headless.progress_rows import progress_rows
from batchscope.tui.headless.summary import summary, summary_text
from batchscope.tui.render.styled_text import text_of
from tests import golden
from tests.unit.state_fixtures import (
    FOUR,
    ONE,
    PRESET,
    THREE,
    TWO,
    conductor,
    epochs,
    folded,
    opened,
    progress,
    started,
    sweep_ended,
    trial_ended,
    worker,
)


@pytest.fixture(autouse=True)
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def measured() -> ev.MicroBatchesMeasured:
    return ev.MicroBatchesMeasured(
        trial=ONE,
        device="cpu",
        device_name="a processor",
        batch_size=8,
        asked_bytes=None,
        limit_bytes=1 << 30,
        held_bytes=1 << 20,
        shapes=(Shape(8, 1 << 20, 100.0), Shape(16, failed="out of memory")),
        evaluation_batch_size=1000,
        evaluation_peak_bytes=1 << 20,
        seconds=1.5,
    )


def paced() -> ev.Paced:
    return ev.Paced(
        trial=ONE,
        worker=0,
        device_name="a processor",
        batch_size=8,
        micro_batch_size=8,
        threads=1,
        asked=2,
        stacks=(StackTiming(1, 0.25), StackTiming(2, 0.375)),
        seconds=2.5,
    )


def sharpness(value: float | None, epsilon: float, reason: str = "") -> ev.SharpnessMeasured:
    return ev.SharpnessMeasured(
        trial=ONE,
        attempt=1,
        steps=20,
        epsilon=epsilon,
        dimensions=None,
        samples=1000,
        loss=0.5,
        highest_loss=0.75,
        sharpness=value,
        evaluations=20,
        iterations=10,
        seconds=0.5,
        reason=reason,
    )


def cut(**changes: bool) -> ev.MicroBatchCut:
    return ev.MicroBatchCut(trial=ONE, attempt=1, steps=7, size=4, **changes)


def probed(share: float) -> ev.Probed:
    return ev.Probed(
        trial=ONE, attempt=1, at_share=share, epoch=1, steps=10, samples=80, seconds=0.5
    )


def everything() -> list[ev.AnyEvent]:
    """Events of every kind, each in the forms in which the log shows it."""
    more = [
        msgspec.structs.replace(each, id=f"{each.id}-more", label=f"{each.label}, more")
        for each in PRESET.configurations[:1]
    ]
    points = (ev.LinePoint(0.0, 0.5, 0.75, 0.5, 0.75), ev.LinePoint(1.0, 0.25, 0.9, 0.5, 0.8))
    return [
        ev.JournalOpened(version=1, program="x"),
        opened(),
        conductor(),
        ev.DataProgress(name="digits", received=3_200_000, total=11_600_000),
        ev.DataProgress(name="digits", received=11_600_000, total=11_600_000),
        ev.DataReady(name="digits", train=1437, test=360, shape=(1, 8, 8), digest="d"),
        ev.CodeRefused(reason="mine.py has changed since this sweep began", files=("mine.py",)),
        ev.WorkerAwaited(worker=0, needs="1 CPU"),
        worker(0),
        msgspec.structs.replace(worker(1), node="node-7"),
        measured(),
        paced(),
        started(ONE),
        cut(),
        cut(evaluation=True),
        cut(probe=True),
        cut(grew=True),
        epochs(ONE, 1, 1),
        epochs(ONE, 1, 2, 3),
        probed(0.5),
        probed(1.0),
        sharpness(12.5, 1e-3),
        sharpness(None, 5e-4, "the loss is not finite in the box"),
        ev.WeightsKept(trial=ONE, attempt=1, bytes=8, digest="ab"),
        ev.WeightsKept(trial=ONE, attempt=1, reason="No space left on device"),
        trial_ended(ONE, "finished"),
        started(TWO),
        ev.SweepPaused(at=10.0),
        ev.SweepContinued(at=15.0),
        epochs(TWO, 1, 1),
        trial_ended(TWO, "stopped"),
        ev.WorkerLost(worker=1, reason="killed by signal 9"),
        ev.WorkerDismissed(worker=0),
        ev.WorkerDismissed(worker=2, reason="its node is gone"),
        started(THREE, size=64),
        trial_ended(THREE, "failed", reason="killed by signal 9"),
        ev.TrialRetried(trial=THREE, attempt=1),
        msgspec.structs.replace(started(THREE, 2, size=64), resumed_steps=10),
        trial_ended(THREE, "diverged", attempt=2, reason="the loss was not finite"),
        trial_ended(FOUR, "skipped", attempt=0, reason="the same as another"),
        ev.ConfigurationsAdded(configurations=tuple(more)),
        ev.Interpolated(start=ONE, end=THREE, points=points, samples=360, seconds=0.5),
        ev.Interpolated(start=TWO, end=FOUR, reason="b8-s1 was stopped"),
        ev.Note(text="a note", level="warning"),
        sweep_ended("stopped", 130),
        conductor(pid=8, at=20.0),
        sweep_ended("failed", 1),
        conductor(pid=9, at=30.0),
        sweep_ended(),
    ]


def log_lines(folder: Path, events: list[ev.AnyEvent]) -> list[str]:
    (folder / journal.NAME).write_bytes(b"".join(map(journal.sealed, events)))
    stream = io.StringIO()
    HeadlessFollower(folder, Log("text", stream, sweep="s")).catch_up()
    return [line.partition("+00:00 ")[2] for line in stream.getvalue().splitlines()]


def progress_texts() -> Iterator[str]:
    running = folded(
        worker(),
        *(started(ONE), epochs(ONE, 1, 1), trial_ended(ONE, "finished")),
        *(started(TWO), progress(TWO, 1, 50), epochs(TWO, 1, 1, 2)),
        *(started(THREE, size=64), trial_ended(THREE, "failed")),
        started(FOUR, size=64),
    )
    fetching = folded(ev.DataProgress(name="mnist", received=3_200_000, total=11_600_000))
    for state, more in (
        (folded(), {}),
        (fetching, {}),
        (folded(worker()), {}),
        (running, {}),
        (running, {"stopping": True}),
        (running, {"alive": False}),
    ):
        yield from (text_of(row).rstrip() for row in progress_rows(state, 60.0, 79, 8, **more))
        yield ""


def judged() -> SweepState:
    """A sweep with a claim, a selection and results of two seeds."""
    claim = Claim(
        statement="A larger batch reaches less",
        measure="test_accuracy",
        trend="decreasing",
        over="train.batch_size",
    )
    first = msgspec.structs.replace(
        opened(), claims=(claim,), selection=Selection(keys=("train.lr",))
    )
    events: list[ev.AnyEvent] = [first, conductor(), worker()]
    for name in (ONE, TWO, THREE, FOUR):
        size = 8 if name in (ONE, TWO) else 64
        events += [started(name, size=size), epochs(name, 1, 1, 2), trial_ended(name, "finished")]
    return SweepState().fold([*events, sweep_ended()])


def summaries(folder: Path) -> Iterator[str]:
    (folder / LAUNCH).write_bytes(msgspec.json.encode(Launch(preset="quickstart")))
    (folder / SWEEP).write_text('title = "Batch size in half a minute"')
    half = folded(worker(), started(ONE), epochs(ONE, 1, 1), trial_ended(ONE, "diverged"))
    yield summary_text(summary(folder, judged(), folder / "out", alive=False))
    yield ""
    yield summary_text(summary(folder, half, None, alive=True))
    yield ""
    yield summary_text(summary(folder, half, None, alive=False))


def test_the_texts_of_a_headless_run(tmp_path: Path) -> None:
    events = everything()
    assert {type(event) for event in events} == set(get_args(ev.AnyEvent)) - {
        ev.Measuring,
        ev.Planned,
        ev.Progress,
        ev.Predicted,
        ev.MemorySampled,
        ev.CodeLoaded,
    }
    folder = tmp_path / "20270115-080000-quickstart"
    folder.mkdir()
    parts = (
        ("log lines", log_lines(folder, events)),
        ("progress", progress_texts()),
        ("summaries", summaries(folder)),
    )
    text = "\n".join("\n".join((f"==== {name}", *lines)) for name, lines in parts)
    golden.check("log", text.replace(str(tmp_path), "HOME"))
