"""What is read off columns is what a loop over the epochs finds."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from batchscope.engine.journal.epoch_columns import Records
from batchscope.engine.journal.events import EpochRecord, NormSlice
from batchscope.engine.metrics.epoch_arrays import norms_between, whole_epochs
from batchscope.engine.metrics.epoch_metrics import HALF_LIFE, NoiseRatio, NormMean, NormSpread
from batchscope.engine.metrics.norm_histogram import Norms
from batchscope.engine.training.instruments.grad_norms import norm_slice

NORMS = st.lists(
    st.floats(1e-6, 1e6) | st.just(0.0) | st.just(math.nan) | st.just(math.inf), max_size=6
)
EPOCHS = st.lists(st.lists(NORMS, max_size=3), max_size=5)


def epochs_of(drawn: list[list[list[float]]]) -> list[EpochRecord]:
    """Records whose steps had these norms, slice by slice."""
    found, step = [], 0
    for epoch, slices in enumerate(drawn, 1):
        pieces: list[NormSlice] = []
        for norms in slices:
            pieces.append(norm_slice(step, np.array(norms, dtype=np.float64)))
            step += len(norms)
        found.append(record(epoch, step, tuple(pieces)))
    return found


def record(
    epoch: int, steps: int, norms: tuple[NormSlice, ...], samples: int = 10, seconds: float = 1.0
) -> EpochRecord:
    return EpochRecord(
        epoch=epoch,
        steps=steps,
        samples=steps,
        lr=0.1,
        train_loss=None,
        train_accuracy=0.5,
        test_loss=None,
        test_accuracy=0.5,
        seconds=seconds,
        epoch_samples=samples,
        weight_norm=None,
        distance_from_init=None,
        norms=norms,
    )


def close(found: float | None, expected: float | None) -> bool:
    if found is None or expected is None:
        return found is expected
    return found == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(EPOCHS, st.sampled_from([(0.0, 1.0), (0.0, 0.2), (0.8, 1.0), (0.3, 0.6), (0.5, 0.5)]))
def test_norms_of_a_share_are_those_of_the_slices_in_it(
    drawn: list[list[list[float]]], share: tuple[float, float]
) -> None:
    records = epochs_of(drawn)
    planned = float(sum(len(norms) for slices in drawn for norms in slices) or 1)
    start, stop = share
    naive = Norms()
    for piece in (piece for one in records for piece in one.norms):
        where = (piece.first_step + (piece.count + piece.broken) / 2) / planned
        if start <= where and (where < stop or stop >= 1.0):
            naive.add(piece)
    found = norms_between(Records(records), planned, start, stop)
    assert (found.count, found.broken, found.bins) == (naive.count, naive.broken, naive.bins)
    assert close(found.mean, naive.mean)
    assert close(found.std, naive.std) or (naive.std or 0.0) < 1e-9 * (naive.mean or 1.0)


@given(EPOCHS)
def test_mean_and_spread_of_every_epoch(drawn: list[list[list[float]]]) -> None:
    records = epochs_of(drawn)
    for figure in (NormMean(), NormSpread()):
        values = figure.values(Records(records))
        assert len(values) == len(records)
        for one, value in zip(records, values, strict=True):
            expected = figure(one)
            if expected is None:
                assert math.isnan(value)
            else:
                assert value == pytest.approx(expected, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        ([], []),
        ([(10, 3.0)], [(3.0, 10)]),
        ([(10, 3.0), (10, 2.0), (10, 1.0)], [(2.0, 10), (1.0, 10)]),
        ([(10, 3.0), (4, 1.0)], [(3.0, 10)]),
        ([(10, 0.0), (4, 1.0)], []),
    ],
)
def test_whole_epochs(epochs: list[tuple[int, float]], expected: list[tuple[float, int]]) -> None:
    records = Records(
        record(epoch, 1, (), samples, seconds) for epoch, (samples, seconds) in enumerate(epochs, 1)
    )
    seconds, samples = whole_epochs(records, 10)
    assert list(zip(seconds.tolist(), samples.tolist(), strict=True)) == expected


def test_the_running_noise_scale_divides_two_means() -> None:
    drawn = [(1, 4.0, 2.0), (0, None, None), (2, 1.0, 1.0), (1, 3.0, -9.0)]
    records = Records(
        replace(record(epoch, epoch, ()), noise_draws=n, noise_trace=t, noise_signal=s)
        for epoch, (n, t, s) in enumerate(drawn, 1)
    )
    one, two = 0.5 ** (1 / HALF_LIFE), 0.5 ** (2 / HALF_LIFE)
    expected = [2.0, 2.0, (two * 4.0 + 2.0) / (two * 2.0 + 2.0), math.nan]
    assert one * (two * 2.0 + 2.0) - 9.0 < 0  # undetermined in the end
    np.testing.assert_allclose(NoiseRatio().values(records), expected)
