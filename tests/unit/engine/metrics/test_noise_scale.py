"""Smith and Le's noise scale, and where it stands beside that of the gradient."""

import pytest

from batchscope.engine.analysis.noise_scales import noise_scales, ratio_interval
from batchscope.engine.analysis.tables import epoch_rows, trial_rows
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.noise_scale import noise_pairs, sgd_noise_scale
from batchscope.engine.metrics.registry import value_of
from batchscope.engine.spec import Train
from tests.unit.engine.findings_fixtures import TRAIN_SIZE, Ended, configuration, record, sweep


def scale(train_size: int = 1000, lr: float = 0.5, batch_size: int = 10, **more: object) -> object:
    train = Train(batch_size=batch_size, lr=lr, epochs=1, **more)  # type: ignore[arg-type]
    return sgd_noise_scale(train, lr, batch_size, train_size)


def test_it_is_what_they_write() -> None:
    assert scale() == pytest.approx(0.5 * (1000 / 10 - 1))
    assert scale(momentum=0.75) == pytest.approx(49.5)  # sgd has none
    assert scale(optimizer="momentum", momentum=0.75) == pytest.approx(49.5 * 4)
    assert scale(optimizer="nesterov", momentum=0.75) == pytest.approx(49.5 * 4)
    assert scale(weight_decay=0.1) == scale()


def test_a_summed_loss_multiplies_the_rate() -> None:
    assert scale(loss_reduction="sum") == pytest.approx(10 * 49.5)


def test_the_whole_set_has_no_noise_unless_it_is_drawn_with_replacement() -> None:
    assert scale(batch_size=1000) == 0
    assert scale(batch_size=5000) == 0
    assert scale(batch_size=1000, sampling="with-replacement") == pytest.approx(0.5)
    assert scale(sampling="with-replacement") == pytest.approx(50)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "adagrad", "rmsprop"])
def test_optimizers_that_divide_by_their_gradients_have_none(optimizer: str) -> None:
    assert scale(optimizer=optimizer) is None


def test_tables_and_findings_have_it() -> None:
    drawn = {"noise_trace": 10.0, "noise_signal": 2.0, "noise_draws": 4}
    epochs = (record(0.9, **drawn), record(0.9, epoch=2, lr=0.01, last_batch_size=40, **drawn))
    state = sweep([(configuration(8, lr=0.3), [Ended(records=epochs)])])
    (row,) = (row for row in trial_rows(state) if row["status"] == "finished")
    assert row["sgd_noise_scale"] == pytest.approx(0.3 * (TRAIN_SIZE / 8 - 1))
    first, second = epoch_rows(state)
    assert first["sgd_noise_scale"] == pytest.approx(0.1 * (TRAIN_SIZE / 8 - 1))
    assert second["sgd_noise_scale"] == pytest.approx(0.01 * (TRAIN_SIZE / 40 - 1))
    (found,) = noise_scales(state)
    assert found.value == pytest.approx(5)
    assert found.sgd_noise_scale == row["sgd_noise_scale"]


def drawn_sweep(*signals: float, **train: object) -> SweepState:
    """Return a sweep of one configuration with a trace of 10 and these signals, one a seed."""
    ends = [
        Ended(records=(record(0.9, noise_trace=10.0, noise_signal=signal, noise_draws=4),))
        for signal in signals
    ]
    return sweep([(configuration(8, seeds=len(ends), **train), ends)])


def test_the_noise_of_the_training_set_in_every_table() -> None:
    state = drawn_sweep(2.0, -0.1, 1.0)
    rows, epochs = list(trial_rows(state)), list(epoch_rows(state))
    for found in (rows, epochs):
        assert [row["noise_signal_train"] for row in found] == pytest.approx(
            [signal + 10 / TRAIN_SIZE for signal in (2.0, -0.1, 1.0)]
        )
        assert [row["noise_scale_train"] for row in found] == pytest.approx(
            [10 / (signal + 10 / TRAIN_SIZE) for signal in (2.0, -0.1, 1.0)]
        )
    assert [row["noise_scale"] for row in rows] == [5.0, None, 10.0]
    assert rows[0]["noise_scale_train"] == pytest.approx(1 / (1 / 5 + 1 / TRAIN_SIZE))
    (found,) = noise_scales(state)
    signal = 2.9 / 3
    assert found.value == pytest.approx(10 / signal)
    assert found.value_train == pytest.approx(10 / (signal + 10 / TRAIN_SIZE))
    assert found.signal_train == pytest.approx(signal + 10 / TRAIN_SIZE)
    pairs = [noise_pairs(state, trial) for trial in state.replicates("b8")]
    corrected = [pair.of_training for pair in pairs if pair and pair.of_training]
    ends = ratio_interval([(one.trace, one.signal) for one in corrected])
    assert (found.low_train, found.high_train) == ends
    assert [pair.of_batches.signal for pair in pairs if pair] == [2.0, -0.1, 1.0]


def test_claims_can_measure_the_noise_of_the_training_set() -> None:
    state = drawn_sweep(2.0)
    (trial,) = (one for one in state.replicates("b8") if one.done)
    assert value_of(state, trial, "noise_scale_train") == pytest.approx(10 / 2.125)
    assert value_of(state, trial, "noise_signal_train") == pytest.approx(2.125)


def test_with_replacement_nothing_is_added() -> None:
    state = drawn_sweep(2.0, sampling="with-replacement")
    row = next(iter(trial_rows(state)))
    assert (row["noise_scale"], row["noise_scale_train"], row["noise_signal_train"]) == (5, 5, 2)
    (found,) = noise_scales(state)
    assert (found.value_train, found.signal_train) == (found.value, found.signal)


def test_where_even_that_of_the_training_set_is_undetermined() -> None:
    (found,) = noise_scales(drawn_sweep(-5.0, -6.0))
    assert (found.value_train, found.low_train, found.high_train) == (None, None, None)
    assert found.signal_train == pytest.approx(-5.5 + 10 / TRAIN_SIZE)
    assert "∇L_train" in found.reason_train
    assert "not positive" in found.reason_train


def test_unmeasured_noise_has_no_pairs() -> None:
    state = sweep([(configuration(1), [0.9])])
    (trial,) = (one for one in state.replicates("b1") if one.done)
    assert noise_pairs(state, trial) is None
    assert value_of(state, trial, "noise_signal_train") is None
