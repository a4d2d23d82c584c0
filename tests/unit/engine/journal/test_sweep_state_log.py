"""The log of a sweep: each kind of event in words (`tests/golden/sweep_log.txt`)."""

import msgspec

from batchscope.engine.experiment.preset_catalog import find_preset
from batchscope.engine.journal import events as ev
from batchscope.engine.journal.events import AnyEvent
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.orchestration.dispatcher import SKIPPED
from batchscope.engine.planning.micro_batch import Shape
from batchscope.engine.planning.stacking import StackTiming
from tests import golden
from tests.unit.state_fixtures import (
    FOUR,
    ONE,
    THREE,
    folded,
    history,
    started,
    trial_ended,
    worker,
)

ADDED = find_preset("quickstart", ["seeds=2", "grid.batch_size=[16]"]).configurations


def more() -> list[AnyEvent]:
    """Events of the kinds that `history` does not have."""
    return [
        ev.WorkerAwaited(worker=2, needs="1 GPU"),
        msgspec.structs.replace(worker(2), node="10.0.0.7"),
        ev.WorkerDismissed(worker=2),
        ev.WorkerDismissed(worker=3, reason="no more work"),
        ev.SweepPaused(at=10.0),
        ev.SweepContinued(at=14.0),
        ev.TrialRetried(trial=FOUR, attempt=0),
        ev.TrialRetried(trial=FOUR, attempt=0),
        ev.MicroBatchesMeasured(
            trial=FOUR,
            device="cpu",
            device_name="cpu",
            batch_size=64,
            asked_bytes=None,
            limit_bytes=100,
            held_bytes=10,
            shapes=(Shape(32), Shape(64)),
            evaluation_batch_size=10,
            evaluation_peak_bytes=20,
            seconds=0.25,
        ),
        ev.Paced(
            trial=FOUR,
            worker=0,
            device_name="cpu",
            batch_size=64,
            micro_batch_size=64,
            threads=1,
            asked=3,
            stacks=(StackTiming(1, 0.1), StackTiming(3, 0.2)),
            seconds=0.5,
            workers=2,
        ),
        started(FOUR, 1, size=64),
        ev.MicroBatchCut(trial=FOUR, attempt=1, steps=120, size=16),
        ev.MicroBatchCut(trial=FOUR, attempt=1, steps=120, size=8, evaluation=True),
        ev.MicroBatchCut(trial=FOUR, attempt=1, steps=120, size=4, probe=True),
        ev.MicroBatchCut(trial=FOUR, attempt=1, steps=150, size=64, grew=True),
        *(
            ev.Probed(
                trial=FOUR, attempt=1, at_share=share, epoch=1, steps=9, samples=72, seconds=0.5
            )
            for share in (0.5, 1.0)
        ),
        *(
            ev.SharpnessMeasured(
                trial=FOUR,
                attempt=1,
                steps=100,
                epsilon=epsilon,
                dimensions=None,
                samples=10,
                loss=0.1,
                highest_loss=0.2,
                sharpness=sharpness,
                evaluations=9,
                iterations=3,
                seconds=0.5,
                reason="" if sharpness else "the loss was not finite",
            )
            for epsilon, sharpness in ((0.001, 9.5), (0.0005, None))
        ),
        trial_ended(FOUR, "skipped", reason=SKIPPED),
        ev.Interpolated(start=ONE, end=THREE, reason="no weights"),
        ev.ConfigurationsAdded(configurations=ADDED),
        ev.Note(text="refused: b8-s0 has finished", level="warning"),
    ]


def test_the_log_in_words() -> None:
    state = SweepState().fold([*history(), *more()])
    golden.check("sweep_log", "\n".join(f"{line.level}: {line.text}" for line in state.log))


def test_a_skipped_trial_is_not_called_skipped_twice() -> None:
    state = SweepState().fold([*history(), *more()])
    (line,) = [each.text for each in state.log if SKIPPED in each.text]
    assert line.count("skipped") == 1


def test_the_reason_of_an_older_journal_is_shown() -> None:
    state = folded(trial_ended(FOUR, "skipped", attempt=0, reason="skipped on request"))
    assert state.log[-1].text == f"{FOUR}: skipped on request"


def test_a_timing_without_stacks_does_not_speak_of_stacks() -> None:
    (timed,) = [each for each in more() if isinstance(each, ev.Paced)]
    alone = msgspec.structs.replace(timed, stacks=timed.stacks[:1])
    text = SweepState().fold([*history(), alone]).log[-1].text
    assert "one replicate at a time" in text
    assert "stack" not in text
