"""Events of a small sweep, one by one and as a whole history."""

from batchscope.engine.experiment.preset_catalog import find_preset
from batchscope.engine.journal import events as ev
from batchscope.engine.journal.events import AnyEvent, EpochRecord, NormSlice
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.spec import trials_of

PRESET = find_preset("quickstart", ["seeds=2", "grid.batch_size=[8, 64]"])
ONE, TWO, THREE, FOUR = (
    trial.id for c in PRESET.configurations for trial in trials_of(c)
)  # b8-s0, b8-s1, b64-s0, b64-s1


def opened() -> ev.SweepOpened:
    return ev.SweepOpened(
        at=1.0,
        id="now-quickstart",
        preset="quickstart",
        title=PRESET.title,
        question=PRESET.question,
        source=PRESET.source,
        configurations=PRESET.configurations,
        notes=("a note",),
    )


def conductor(pid: int = 7, at: float = 2.0) -> ev.ConductorStarted:
    return ev.ConductorStarted(pid=pid, machine={"cores": 2}, at=at)


def worker(number: int = 0) -> ev.WorkerReady:
    return ev.WorkerReady(
        worker=number,
        device="cpu",
        device_name="cpu",
        pid=9,
        threads=1,
        versions={"torch": "2.13.0"},
        seconds=1.0,
    )


def started(trial: str, attempt: int = 1, steps: int | None = 100, size: int = 8) -> AnyEvent:
    return ev.TrialStarted(
        trial=trial,
        attempt=attempt,
        worker=0,
        device="cpu",
        batch_size=size,
        micro_batch_size=size,
        total_steps=steps,
        steps_per_epoch=10,
        parameters=5,
        init_norm=1.5,
        lr=0.1,
        at=3.0,
    )


def record(epoch: int, accuracy: float = 0.5) -> EpochRecord:
    return EpochRecord(
        epoch=epoch,
        steps=10 * epoch,
        samples=80 * epoch,
        lr=0.1,
        train_loss=0.25,
        train_accuracy=0.75,
        test_loss=0.5,
        test_accuracy=accuracy,
        seconds=0.125,
        epoch_samples=80,
        weight_norm=2.0,
        distance_from_init=1.0,
        norms=(NormSlice(10 * (epoch - 1), 10, 1.0, 0.0, 201, (10,)),),
    )


def epochs(trial: str, attempt: int, *numbers: int) -> AnyEvent:
    return ev.EpochsFinished(
        trial=trial, attempt=attempt, records=tuple(record(number) for number in numbers)
    )


def progress(trial: str, attempt: int, steps: int) -> AnyEvent:
    return ev.Progress(
        trial=trial, attempt=attempt, epoch=1, steps=steps, samples=8 * steps, seconds=1.0
    )


def trial_ended(trial: str, status: ev.TrialStatus, attempt: int = 1, reason: str = "") -> AnyEvent:
    return ev.TrialEnded(trial=trial, attempt=attempt, status=status, reason=reason, at=4.0)


def sweep_ended(state: ev.SweepEnding = "finished", code: int = 0) -> ev.SweepEnded:
    return ev.SweepEnded(
        state=state, seconds=9.0, trials=4, finished=4, failed=0, exit_code=code, at=5.0
    )


def folded(*events: AnyEvent) -> SweepState:
    return SweepState().fold([opened(), conductor(), *events])


def history() -> list[AnyEvent]:
    """Return the events of a sweep with two conductors, a lost worker, and every trial status."""
    plans = [make_plan(t, 1437, 1) for c in PRESET.configurations for t in trials_of(c)]
    data = ev.DataReady(name="digits", train=1437, test=360, shape=(1, 8, 8), digest="d", at=2.5)
    return [
        ev.JournalOpened(version=1, program="x"),
        opened(),
        conductor(),
        ev.DataProgress(name="digits", received=1, total=2),
        data,
        *(ev.Planned(plan=plan) for plan in plans),
        worker(0),
        worker(1),
        started(ONE),
        started(TWO),
        epochs(ONE, 1, 1, 2),
        progress(TWO, 1, 5),
        trial_ended(ONE, "finished", reason="reached it"),
        started(THREE, size=64),
        epochs(TWO, 1, 1),
        trial_ended(TWO, "stopped"),
        ev.WorkerLost(worker=1, reason="killed by signal 9"),
        trial_ended(THREE, "failed", reason="killed by signal 9"),
        trial_ended(FOUR, "skipped", attempt=0, reason="the same as another"),
        sweep_ended("stopped", 130),
        conductor(pid=8, at=6.0),
        worker(0),
        started(TWO, 2),
        epochs(TWO, 2, 1),
        epochs(TWO, 2, 2, 3),
        trial_ended(TWO, "finished", attempt=2),
        started(THREE, 2, size=64),
        trial_ended(THREE, "diverged", attempt=2, reason="the loss was not finite"),
        sweep_ended(),
    ]
