"""The time of an epoch of a configuration is one number, wherever it stands."""

from pathlib import Path

import pytest

from batchscope.engine.analysis.figures import epoch_times, pace_of
from batchscope.engine.comparison.comparison import compare
from batchscope.engine.export.memory_table import memory_rows
from batchscope.engine.findings.configuration_summary import figures
from batchscope.engine.journal import events as ev
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.planning.plan import Plan
from batchscope.tui.headless.summary import summary
from tests.unit.engine.comparison_fixtures import side
from tests.unit.engine.findings_fixtures import TRAIN_SIZE, Ended, configuration, record, sweep

EPOCHS = ((9.0, 1.0, 1.0, 5.0), (9.0, 2.0, 2.0, 2.0), (9.0, 6.0, 7.0, 6.0))
"""Of three seeds: medians of 1, 2 and 6 s behind the first epoch, but of all together 2 s."""
MEAN = 3.0
PACE = TRAIN_SIZE * (1 + 1 / 2 + 1 / 6) / 3


def ended(seconds: tuple[float, ...], status: ev.TrialStatus = "finished") -> Ended:
    told = [
        record(0.9, epoch=at, steps=10 * at, samples=TRAIN_SIZE * at, seconds=each)
        for at, each in enumerate(seconds, 1)
    ]
    return Ended(status=status, records=tuple(told))


def three() -> SweepState:
    return sweep([(configuration(8), [ended(each) for each in EPOCHS])])


def test_findings_board_and_summary_have_the_same_time(tmp_path: Path) -> None:
    state = three()
    (found,) = figures(state)
    assert found.figures["epoch_seconds"].mean == pytest.approx(MEAN)
    assert found.figures["samples_per_second"].mean == pytest.approx(PACE)
    (time,) = epoch_times(state)
    (row,) = summary(tmp_path, state, None, alive=False)["configurations"]
    for seconds, rate in (
        pace_of(state, "b8"),
        (time.seconds, time.samples_per_second),
        (row["epoch_seconds"], row["samples_per_second"]),
    ):
        assert (seconds, rate) == pytest.approx((MEAN, PACE))


def test_a_comparison_and_the_table_of_memory_have_it_too() -> None:
    a = side((configuration(8), [ended(each) for each in EPOCHS]))
    b = side((configuration(8), [ended((9.0, 4.5))] * 3), id="b")
    (row,) = compare(a, b).rows
    assert (row.epoch_seconds.a, row.epoch_seconds.ratio) == pytest.approx((MEAN, 1.5))
    state = three()
    for name in state.trials:
        state.plans[name] = Plan(
            group=name, members=(name,), batch_size=8, micro_batch_size=8,
            accumulation_steps=1, evaluation_batch_size=8, threads=1,
        )  # fmt: skip
    (told,) = memory_rows(state)
    assert told["samples_per_second"] == pytest.approx(PACE)


def test_a_trial_that_was_lost_is_in_no_time_but_one_that_trains_is_until_one_has_finished() -> (
    None
):
    lost = sweep([(configuration(8), [ended(EPOCHS[0]), ended(EPOCHS[2], "diverged")])])
    assert pace_of(lost, "b8")[0] == 1.0
    training = sweep([(configuration(8), [Ended(status="queued")] * 2)])
    told = ended(EPOCHS[2]).records
    training.apply(ev.EpochsFinished(trial="b8-s0", attempt=1, records=told))
    assert pace_of(training, "b8")[0] == 6.0
    assert pace_of(sweep([(configuration(8), [])]), "b8") == (None, None)
