"""The tables of probes against the events they were folded from."""

import pytest

from batchscope.engine.export.probe_tables import (
    COMPETITION_COLUMNS,
    PROBE_BIN_COLUMNS,
    PROBE_COLUMNS,
    competition_rows,
    probe_bin_rows,
    probe_rows,
)
from batchscope.engine.journal.events import (
    Competing,
    Competition,
    Draws,
    NormSlice,
    Probed,
    ValueBins,
)
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.norm_histogram import EDGES
from batchscope.engine.spec import Probe
from tests.unit.training_fixtures import configuration, ended, opened, started

B64 = configuration(64, probe=Probe(at=(0, 1), batch_sizes=(8,), pairs=((1, 2),)))
NORMS = NormSlice(0, 3, 2.0, 0.5, 206, (2, 0, 1), 1)
VALUES = ValueBins(12, 0.25, 0.5, 7.5, ((-127, 4), (0, 5), (128, 3)))
COMPETITION = Competition(
    1, 2, 9, 0.1, (0.9, 0.01), (1.9, 0.02), (0.8, 0.03), (0.1, 0.04),
    (Competing(1.0, (0.5, 0.2), (0.5, 0.0), 0.0),),
)  # fmt: skip


def probed(share: float, *draws: Draws, attempt: int = 1) -> Probed:
    return Probed(
        trial="b64-s0",
        attempt=attempt,
        at_share=share,
        epoch=1,
        steps=23,
        samples=1437,
        seconds=0.5,
        draws=draws,
        competitions=(COMPETITION,),
    )


def folded(*events: Probed) -> SweepState:
    return SweepState().fold([*opened([B64]), started(B64), *events])


def test_a_row_for_each_size_of_each_moment() -> None:
    state = folded(
        probed(0.0, Draws(8, NORMS, VALUES, 0.25), Draws(64, NORMS, None, None)),
        probed(1.0, Draws(8, NORMS, VALUES, 0.5)),
    )
    first, second, third = probe_rows(state)
    assert first == {
        "trial": "b64-s0",
        "batch_size": 64,
        "seed": 0,
        "at_share": 0.0,
        "epoch": 1,
        "steps": 23,
        "samples": 1437,
        "probed_batch_size": 8,
        "draws": 4,
        "loss_reduction": "mean",
        "sampling": "without-replacement",
        "norm_mean": 2.0,
        "norm_std": 0.5,
        "norm_cv": 0.25,
        "value_mean": 0.25,
        "value_std": 0.5,
        "value_kurtosis": 7.5,
        "pairwise_cosine": 0.25,
    }
    assert tuple(first) == PROBE_COLUMNS
    assert (second["probed_batch_size"], second.get("value_std")) == (64, None)
    assert (third["at_share"], third["pairwise_cosine"]) == (1.0, 0.5)


def test_a_row_for_each_bin_that_is_not_empty() -> None:
    rows = list(probe_bin_rows(folded(probed(0.0, Draws(8, NORMS, VALUES, 0.25)))))
    assert [(row["quantity"], row["bin_left"], row["bin_right"], row["count"]) for row in rows] == [
        ("norm", EDGES[206], EDGES[207], 2),
        ("norm", EDGES[208], EDGES[209], 1),
        ("value", -2.0, -1.0, 4),
        ("value", -(2.0**-126), 2.0**-126, 5),
        ("value", 2.0, 4.0, 3),
    ]
    assert all(set(row) <= {*PROBE_BIN_COLUMNS, "epoch", "steps", "samples"} for row in rows)


def test_a_row_for_each_pair() -> None:
    (row,) = competition_rows(folded(probed(1.0)))
    assert tuple(row) == COMPETITION_COLUMNS
    figures = [value for name, value in row.items() if name.endswith(("_mean", "_std"))]
    assert figures == [0.9, 0.01, 1.9, 0.02, 0.8, 0.03, 0.1, 0.04]
    pair = (row["small_batch_size"], row["large_batch_size"], row["draws"], row["lr"])
    assert pair == (1, 2, 9, 0.1)


def test_the_same_statement_twice_is_one() -> None:
    once = probed(0.0, Draws(8, NORMS, VALUES, 0.25))
    assert len(list(probe_rows(folded(once, once)))) == 1


@pytest.mark.parametrize("attempt", [1, 2])
def test_probes_of_an_attempt_that_was_given_up_are_forgotten(attempt: int) -> None:
    state = folded(probed(0.0, Draws(8, NORMS, VALUES, 0.25)))
    state.fold([started(B64, attempt=attempt)])
    assert len(state.trials["b64-s0"].probes) == (1 if attempt == 1 else 0)
    state.fold([ended(B64, attempt=attempt), probed(1.0, attempt=attempt)])
    assert all(probe.at_share < 1 for probe in state.trials["b64-s0"].probes)
