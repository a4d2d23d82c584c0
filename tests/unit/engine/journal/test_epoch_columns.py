"""Epochs in columns behave as a list of epochs, whatever is done to them."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchscope.engine.analysis.curves import curve
from batchscope.engine.journal.epoch_columns import LAYOUT, NUMBERS, Records
from batchscope.engine.journal.events import EpochRecord, NormSlice
from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.metrics.epoch_metrics import Sum
from batchscope.engine.spec import Configuration, Data, Model, Settings, Train

FINITE = st.floats(allow_nan=False, allow_infinity=False)
MAYBE = st.none() | FINITE
COUNTS = st.integers(0, 1 << 53)
SLICES = st.builds(
    NormSlice,
    first_step=COUNTS,
    count=COUNTS,
    mean=FINITE,
    squares=FINITE,
    first_bin=st.integers(-500, 500),
    counts=st.lists(st.integers(0, (1 << 32) - 1), max_size=4).map(tuple),
    broken=st.integers(0, 3),
)


def records(epoch: st.SearchStrategy[int] = COUNTS) -> st.SearchStrategy[EpochRecord]:
    return st.builds(
        EpochRecord,
        epoch=epoch,
        steps=COUNTS,
        samples=COUNTS,
        lr=FINITE,
        train_loss=MAYBE,
        train_accuracy=FINITE,
        test_loss=MAYBE,
        test_accuracy=FINITE,
        seconds=FINITE,
        epoch_samples=COUNTS,
        weight_norm=MAYBE,
        distance_from_init=MAYBE,
        norms=st.lists(SLICES, max_size=3).map(tuple),
        peak_memory_bytes=st.none() | COUNTS,
        noise_scale=MAYBE,
        noise_trace=MAYBE,
        noise_signal=MAYBE,
        noise_draws=st.integers(0, 1 << 53),
        update_norm_mean=MAYBE,
        path_length=MAYBE,
    )


@given(st.lists(st.lists(records(), max_size=4), max_size=4), st.slices(16))
def test_it_is_the_list_of_what_was_appended(parts: list[list[EpochRecord]], some: slice) -> None:
    plain: list[EpochRecord] = []
    columns = Records()
    for part in parts:
        plain += part
        columns.extend(part)
    assert list(columns) == plain == columns
    assert len(columns) == len(plain)
    assert columns.last == (plain[-1] if plain else None)
    assert list(columns[some]) == plain[some]
    for at, record in enumerate(plain):
        assert columns[at] == record == columns[at - len(plain)]
    for name in NUMBERS:
        values = [getattr(record, name) for record in plain]
        assert columns.known(name) == [value for value in values if value is not None]
    with pytest.raises(IndexError):
        columns[len(plain)]


@given(
    st.lists(records(st.integers(1, 9)), max_size=8, unique_by=lambda record: record.epoch),
    st.lists(records(st.integers(1, 9)), max_size=8, unique_by=lambda record: record.epoch),
    st.integers(0, 10),
)
def test_what_is_stated_again_is_kept_once(
    first: list[EpochRecord], second: list[EpochRecord], kept: int
) -> None:
    first.sort(key=lambda record: record.epoch)
    columns = Records(first)
    columns.merge(second)
    known = {record.epoch: record for record in [*second, *first]}
    expected = [known[epoch] for epoch in sorted(known)]
    assert list(columns) == expected
    columns.keep(kept)
    assert list(columns) == [record for record in expected if record.epoch <= kept]
    columns.clear()
    assert list(columns) == []
    assert columns.last is None


@given(st.lists(records(), min_size=1, max_size=4), records())
def test_columns_that_lie_elsewhere_are_copied_before_the_first_change(
    there: list[EpochRecord], another: EpochRecord
) -> None:
    original = Records(there)
    frozen = {
        name: memoryview(memoryview(original.column(name)).tobytes()).cast(kind)  # type: ignore[call-overload]
        for name, kind in LAYOUT.items()
    }
    found = Records.over(frozen)
    assert list(found) == there
    found.extend([another])
    assert list(found) == [*there, another]
    assert {len(frozen[name]) for name in NUMBERS} == {len(there)}


@given(st.lists(records(), max_size=5), FINITE, FINITE, FINITE)
def test_a_sum_reads_columns_as_it_reads_epochs(
    plain: list[EpochRecord], offset: float, one: float, two: float
) -> None:
    measure = Sum(offset, test_loss=one, weight_norm=two)
    with np.errstate(all="ignore"):
        values = measure.values(Records(plain))
    for record, value in zip(plain, values, strict=True):
        if record.test_loss is None or record.weight_norm is None:
            assert measure(record) is None
            assert math.isnan(value)
            continue
        told = measure(record)
        assert told is not None
        assert told == value or (math.isnan(told) and math.isnan(value))
        with np.errstate(all="ignore"):
            expected = offset + np.float64(one) * record.test_loss
            expected = expected + np.float64(two) * record.weight_norm
        assert value == expected or (math.isnan(value) and math.isnan(expected))


@pytest.mark.parametrize("along", ["epochs", "steps", "samples", "seconds", "distance"])
def test_a_curve_of_columns_is_the_curve_of_epochs(along: Any) -> None:
    settings = Settings(
        data=Data(name="digits"),
        model=Model(name="mlp"),
        train=Train(batch_size=8, lr=0.1, epochs=30),
    )
    state, draw = SweepState(), np.random.default_rng(5)
    state.configurations["b8"] = Configuration(
        id="b8", label="8", settings=settings, seeds=(0, 1, 2)
    )
    for seed, epochs in enumerate((30, 12, 0)):
        trial = TrialState(f"b8-s{seed}", "b8", seed, settings)
        trial.records.extend(_record(epoch, draw) for epoch in range(1, epochs + 1))
        state.trials[trial.id] = trial
    quick = curve(state, "b8", Sum(test_loss=1.0), along)
    naive = curve(state, "b8", lambda record: record.test_loss, along)
    for name in ("x", "mean", "deviation", "n"):
        np.testing.assert_array_equal(getattr(quick, name), getattr(naive, name))
    assert len(quick) == 29  # one epoch has no loss in any seed


def _record(epoch: int, draw: np.random.Generator) -> EpochRecord:
    return EpochRecord(
        epoch=epoch,
        steps=10 * epoch,
        samples=80 * epoch,
        lr=0.1,
        train_loss=0.25,
        train_accuracy=0.75,
        test_loss=None if epoch == 7 else float(draw.random()),
        test_accuracy=0.5,
        seconds=float(draw.random()),
        epoch_samples=80,
        weight_norm=9.0,
        distance_from_init=float(draw.random()),
        norms=(),
    )
