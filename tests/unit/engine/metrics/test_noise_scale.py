"""Smith and Le's noise scale, and where it stands beside that of the gradient."""

import pytest

from batchscope.engine.analysis.noise_scales import noise_scales
from batchscope.engine.analysis.tables import epoch_rows, trial_rows
from batchscope.engine.metrics.noise_scale import sgd_noise_scale
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
