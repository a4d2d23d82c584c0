"""The tables of an export: columns of the contract, values that read back to the same bits."""

import csv
import io
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from batchscope.engine.analysis import tables
from batchscope.engine.analysis.tables import Row, of_cell, to_csv
from batchscope.engine.journal.events import (
    DataReady,
    EpochRecord,
    EpochsFinished,
    NormSlice,
    TrialEnded,
)
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.norm_histogram import EDGES
from batchscope.engine.metrics.registry import TRIAL_COLUMNS
from tests.functional.lab import CONTRACT
from tests.unit.state_fixtures import FOUR, ONE, THREE, TWO, folded, history, record, started


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def of(trial: str, rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["trial"] == trial]


def with_records(*records: EpochRecord, train: int = 80) -> SweepState:
    data = DataReady(name="digits", train=train, test=9, shape=(1, 8, 8), digest="d")
    return folded(data, started(ONE), EpochsFinished(trial=ONE, attempt=1, records=records))


def altered(epoch: int, **fields: object) -> EpochRecord:
    return replace(record(epoch), **fields)


def test_the_columns_begin_with_those_of_the_contract() -> None:
    for name, columns in (
        ("trials.csv", TRIAL_COLUMNS),
        ("epochs.csv", tables.EPOCH_COLUMNS),
        ("gradient_norms.csv", tables.NORM_COLUMNS),
    ):
        assert ",".join(columns).startswith(CONTRACT[name])
        assert len(set(columns)) == len(columns)


def test_every_row_has_known_columns_alone() -> None:
    state = SweepState().fold(history())
    for columns, rows in (
        (TRIAL_COLUMNS, tables.trial_rows(state)),
        (tables.EPOCH_COLUMNS, tables.epoch_rows(state)),
        (tables.NORM_COLUMNS, tables.norm_rows(state)),
    ):
        found = list(rows)
        assert found
        assert all(set(row) <= set(columns) for row in found)


def test_one_row_a_trial_also_of_those_that_never_ended() -> None:
    state = SweepState().fold(history())
    rows = read(to_csv(TRIAL_COLUMNS, tables.trial_rows(state)))
    assert [(row["trial"], row["status"], row["attempt"]) for row in rows] == [
        (ONE, "finished", "1"),
        (TWO, "finished", "2"),
        (THREE, "diverged", "2"),
        (FOUR, "skipped", "0"),
    ]
    skipped = {key for key, value in rows[3].items() if value == ""}
    assert skipped == {
        *("train_loss", "train_accuracy", "test_loss", "test_accuracy", "best_test_accuracy"),
        *("generalization_gap", "epoch_seconds", "samples_per_second", "peak_memory_bytes"),
        *("init_norm", "distance_from_init", "noise_scale", "path_length", "lr"),
        *("batch_norm_size", "noise_draws", "validation_loss", "validation_accuracy"),
        *("steps_to_target", "samples_to_target", "seconds_to_target", "selected"),
        *("stacked", "sgd_noise_scale", "sharpness", "device"),
        *("noise_signal_train", "noise_scale_train", "lr_reached", "accepted_code"),
        "own_optimizer",
    }
    assert {key: rows[3][key] for key in ("epochs", "steps", "samples", "reason")} == {
        "epochs": "0",
        "steps": "0",
        "samples": "0",
        "reason": "the same as another",
    }


def test_the_figures_of_a_trial() -> None:
    records = [
        altered(1, test_accuracy=0.5, seconds=8.0, peak_memory_bytes=7),
        altered(2, test_accuracy=0.75, seconds=2.0, peak_memory_bytes=9),
        altered(3, test_accuracy=0.625, seconds=4.0, peak_memory_bytes=8),
        altered(4, test_accuracy=0.25, seconds=0.5, epoch_samples=40),
    ]
    (row,) = of(ONE, list(tables.trial_rows(with_records(*records))))
    expected = {
        "epochs": 4,
        "steps": 40,
        "samples": 320,
        "train_loss": 0.25,
        "train_accuracy": 0.75,
        "test_loss": 0.5,
        "test_accuracy": 0.25,
        "best_test_accuracy": 0.75,
        "generalization_gap": 0.5,
        "epoch_seconds": 3.0,  # the median of the whole epochs after the first
        "samples_per_second": 30.0,  # the median of 40 and 20 images a second
        "peak_memory_bytes": 9,
        "init_norm": 1.5,
        "distance_from_init": 1.0,
        "noise_scale": None,
        "lr": 0.1,
    }
    assert {key: row[key] for key in expected} == expected


def test_the_only_whole_epoch_is_the_epoch_time() -> None:
    (row,) = of(ONE, list(tables.trial_rows(with_records(altered(1, seconds=8.0)))))
    assert (row["epoch_seconds"], row["samples_per_second"]) == (8.0, 10.0)


def test_without_a_whole_epoch_there_is_no_epoch_time() -> None:
    (row,) = of(ONE, list(tables.trial_rows(with_records(record(1), train=100))))
    assert (row["epoch_seconds"], row["samples_per_second"]) == (None, None)


def test_unknown_figures_are_empty() -> None:
    broken = altered(
        1, train_loss=None, test_loss=None, weight_norm=None, distance_from_init=None, norms=()
    )
    state = with_records(broken)
    state.apply(TrialEnded(trial=ONE, attempt=1, status="diverged"))
    (row,) = read(to_csv(tables.EPOCH_COLUMNS, tables.epoch_rows(state)))
    assert {key for key, value in row.items() if value == ""} == {
        *("train_loss", "test_loss", "weight_norm", "distance_from_init", "noise_scale"),
        *("grad_norm_mean", "grad_norm_std", "grad_norm_cv", "peak_memory_bytes"),
        *("update_norm_mean", "path_length", "noise_trace", "noise_signal", "last_batch_size"),
        *("validation_loss", "validation_accuracy", "gradient_cosine"),
        *("noise_signal_train", "noise_scale_train"),
    }


def test_gradient_norms_of_an_epoch_come_from_all_its_slices() -> None:
    """Norms 1, 3 in one slice and 5, 5, 6 in another, one of them not finite."""
    slices = (
        NormSlice(0, 2, 2.0, 2.0, 201, (1, *[0] * 8, 1)),
        NormSlice(2, 3, 16 / 3, 2 / 3, 214, (2, 0, 1), 1),
    )
    state = with_records(altered(1, norms=slices))
    (row,) = tables.epoch_rows(state)
    assert row["grad_norm_mean"] == pytest.approx(4.0, rel=1e-14)
    assert row["grad_norm_std"] == pytest.approx(2.0, rel=1e-14)
    assert row["grad_norm_cv"] == pytest.approx(0.5, rel=1e-14)
    rows = list(tables.norm_rows(state))
    assert [(norm["bin_left"], norm["bin_right"], norm["count"]) for norm in rows] == [
        (EDGES[201], EDGES[202], 1),
        (EDGES[210], EDGES[211], 1),
        (EDGES[214], EDGES[215], 2),
        (EDGES[216], EDGES[217], 1),
    ]
    assert EDGES[201] == 1.0


def test_the_outermost_bins() -> None:
    slices = (NormSlice(0, 1, 0.0, 0.0, 0, (1,)), NormSlice(1, 1, 1e11, 0.0, len(EDGES) - 2, (1,)))
    rows = list(tables.norm_rows(with_records(altered(1, norms=slices))))
    assert read(to_csv(tables.NORM_COLUMNS, rows)) == [
        {
            "trial": ONE,
            "batch_size": "8",
            "seed": "0",
            "epoch": "1",
            "bin_left": left,
            "bin_right": right,
            "count": "1",
        }
        for left, right in (("0.0", "1e-10"), ("10000000000.0", "inf"))
    ]


def test_cells_of_every_kind() -> None:
    row: Row = {
        "a": None,
        "b": True,
        "c": False,
        "d": 2**60,
        "e": 0.1,
        "f": 'a "b", c\nd',
        "g": "",
        "h": 1e-300,
        "i": float("inf"),
    }
    text = to_csv(tuple("abcdefghij"), [row])
    assert text == (
        'a,b,c,d,e,f,g,h,i,j\n,true,false,1152921504606846976,0.1,"a ""b"", c\nd",,1e-300,inf,\n'
    )


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=9))
def test_floats_read_back_to_the_same_bits(values: list[float]) -> None:
    rows = read(to_csv(("x",), [{"x": value} for value in values]))
    for row, value in zip(rows, values, strict=True):
        assert struct.pack("<d", float(row["x"])) == struct.pack("<d", value)


@given(st.lists(st.text().filter(str.isprintable), min_size=1, max_size=5))
def test_printable_texts_read_back_as_they_were(values: list[str]) -> None:
    text = to_csv(("x", "y"), [{"x": value, "y": 1} for value in values])
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert [[of_cell(cell) for cell in row] for row in rows] == [
        ["x", "y"],
        *([value, "1"] for value in values),
    ]


def test_a_header_without_rows() -> None:
    header = "trial,batch_size,seed,epoch,bin_left,bin_right,count\n"
    assert to_csv(tables.NORM_COLUMNS, []) == header


def test_a_diverged_figure_never_reaches_a_table_as_nan() -> None:
    state = SweepState().fold(history())
    for rows in (tables.trial_rows(state), tables.epoch_rows(state), tables.norm_rows(state)):
        for row in rows:
            assert not any(isinstance(v, float) and math.isnan(v) for v in row.values())
