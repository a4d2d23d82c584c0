"""Findings with a name, by hand and against numpy, and what the probe says in `findings.json`."""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from batchscope.engine.export import bundle
from batchscope.engine.findings import findings
from batchscope.engine.findings.configuration_summary import figures
from batchscope.engine.journal import events as ev
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.metric import Spot
from batchscope.engine.metrics.registry import NAMED, PROBED, value_of
from batchscope.engine.spec import Probe
from tests.unit.engine.findings_fixtures import (
    Ended,
    competition,
    configuration,
    draws,
    record,
    sweep,
)

PROBE = Probe(at=(0.0, 1.0), batch_sizes=(1, 8), pairs=((1, 4), (1, 16)))


def walk(*ends: tuple[int, float | None], **figures: Any) -> Ended:
    """Epochs that end after these many samples, ten a step, at these distances."""
    return Ended(
        records=tuple(
            record(
                0.9,
                epoch=at + 1,
                samples=samples,
                steps=samples // 10,
                distance_from_init=distance,
                **figures,
            )
            for at, (samples, distance) in enumerate(ends)
        )
    )


def measured(end: Ended, measure: str, **settings: Any) -> float | None:
    """The measure of the one trial of a sweep, which has finished."""
    state = sweep([(configuration(8, seeds=1, **settings), [end])])
    return value_of(state, state.trials["b8-s0"], measure)


# ---- gradient norms


def pieces(values: list[float], length: int) -> tuple[ev.NormSlice, ...]:
    """Slices of that many steps."""
    cut = [values[at : at + length] for at in range(0, len(values), length)]
    return tuple(
        ev.NormSlice(
            at * length,
            len(part),
            float(np.mean(part)),
            float(np.var(part) * len(part)),
            201,
            (len(part),),
        )
        for at, part in enumerate(cut)
    )


@pytest.mark.parametrize("length", [1, 2, 4])
def test_early_and_late_are_the_first_and_last_fifth_of_the_steps(length: int) -> None:
    values = [float(value) for value in np.random.default_rng(3).lognormal(size=20)]
    end = Ended(figures={"norms": pieces(values, length)})
    for measure, part in (("early", values[:4]), ("late", values[16:])):
        assert measured(end, f"grad_norm_mean_{measure}") == pytest.approx(np.mean(part))
        cv = np.std(part, ddof=1) / np.mean(part)
        assert measured(end, f"grad_norm_cv_{measure}") == pytest.approx(cv)


def test_a_slice_belongs_where_its_middle_lies() -> None:
    """Slices of three steps have their middles at 1.5, 4.5, ... 16.5 and 19 of twenty steps."""
    values = [float(at) for at in range(20)]
    end = Ended(figures={"norms": pieces(values, 3)})
    assert measured(end, "grad_norm_mean_early") == pytest.approx(np.mean(values[:3]))
    assert measured(end, "grad_norm_mean_late") == pytest.approx(np.mean(values[15:]))


def test_a_training_that_ends_early_has_no_late_steps() -> None:
    end = Ended(figures={"norms": pieces([1.0] * 10, 2)})
    assert measured(end, "grad_norm_mean_late") is None
    assert measured(end, "grad_norm_cv_late") is None


# ---- how far it walks


def test_updates_are_weighted_by_the_steps_of_their_epochs() -> None:
    """Ten updates of 0.3 and five of 0.6, which is also the path over the steps."""
    records = (
        record(0.9, steps=10, update_norm_mean=0.3, path_length=3.0),
        record(0.9, epoch=2, steps=15, samples=120, update_norm_mean=0.6, path_length=6.0),
    )
    end = Ended(records=records)
    assert measured(end, "update_norm_mean") == pytest.approx(6.0 / 15)
    assert measured(end, "path_per_sample") == pytest.approx(6.0 / 120)
    assert measured(end, "path_length") == 6


def test_an_update_that_was_not_measured_leaves_the_mean_unknown() -> None:
    known, unknown = record(0.9, update_norm_mean=0.3), record(0.9, epoch=2, steps=20)
    assert measured(Ended(records=(known, unknown)), "update_norm_mean") is None
    assert measured(Ended(records=(unknown,)), "path_per_sample") is None


def test_distances_are_compared_where_all_have_seen_as_many_samples() -> None:
    """The least total is 100; at it the first is half way between its second and third epoch."""
    state = sweep(
        [
            (configuration(8, seeds=2), [walk((40, 1.0), (80, 2.0), (120, 6.0)), walk((100, 7.0))]),
            (configuration(64, seeds=2), [walk((200, 8.0)), Ended(status="diverged")]),
            (configuration(16, seeds=1), [walk((90, 1.0)).__class__(status="queued")]),
        ]
    )
    found = {
        name: value_of(state, trial, "distance_at_equal_samples")
        for name, trial in state.trials.items()
        if trial.status == "finished"
    }
    assert found == pytest.approx({"b8-s0": 4.0, "b8-s1": 7.0, "b64-s0": 4.0})


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=8), st.integers(10, 1000))
def test_between_epochs_the_distance_is_that_of_numpy(values: list[float], least: int) -> None:
    seen = [1000 + 50 * at for at in range(len(values))]
    long = walk(*zip(seen, values, strict=True))
    state = sweep([(configuration(8, seeds=2), [long, walk((least, 1.0))])])
    expected = np.interp(least, [0, *seen], [0, *values])
    found = value_of(state, state.trials["b8-s0"], "distance_at_equal_samples")
    assert found == pytest.approx(expected, abs=1e-9)


def test_what_more_trials_show_is_taken_up() -> None:
    """The least total changes with every trial that finishes."""
    first = configuration(8, seeds=2)
    state = sweep([(first, [walk((100, 5.0))])])
    trial = state.trials["b8-s0"]
    assert value_of(state, trial, "distance_at_equal_samples") == 5
    other = state.trials["b8-s1"].id
    started = state.trials["b8-s0"].started
    assert started is not None
    epochs = walk((50, 3.0)).records
    state.apply(ev.TrialStarted(**{**_fields(started), "trial": other}))
    state.apply(ev.EpochsFinished(trial=other, attempt=1, records=epochs))
    state.apply(ev.TrialEnded(trial=other, attempt=1, status="finished"))
    assert value_of(state, trial, "distance_at_equal_samples") == 2.5


def _fields(event: ev.TrialStarted) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__struct_fields__}


def test_an_unknown_distance_is_not_made_up() -> None:
    gap = walk((40, None), (80, 2.0))
    assert measured(gap, "distance_at_equal_samples") == 2
    state = sweep([(configuration(8, seeds=2), [gap, walk((60, 1.0))])])
    assert value_of(state, state.trials["b8-s0"], "distance_at_equal_samples") is None


def test_growth_with_the_logarithm_is_that_of_scipy() -> None:
    random = np.random.default_rng(1705)
    seen = [100 * (at + 1) for at in range(9)]
    distances = [float(2 + 0.7 * np.log(s / 10) + random.normal(0, 0.1)) for s in seen]
    end = walk(*zip(seen, distances, strict=True))
    fit = stats.linregress(np.log(np.array(seen) / 10), distances)
    assert measured(end, "distance_log_slope") == pytest.approx(fit.slope)
    assert measured(end, "distance_log_r2") == pytest.approx(fit.rvalue**2)


def test_a_line_is_recovered_and_two_epochs_make_none() -> None:
    ends = [(10 * steps, 1.0 + 0.5 * math.log(steps)) for steps in (2, 4, 8, 16)]
    assert measured(walk(*ends), "distance_log_slope") == pytest.approx(0.5)
    assert measured(walk(*ends), "distance_log_r2") == pytest.approx(1)
    assert measured(walk(*ends[:3]), "distance_log_slope") == pytest.approx(0.5)
    for few in (walk(*ends[:2]), walk(*ends[:2], (400, None)), walk()):
        assert measured(few, "distance_log_slope") is None
        assert measured(few, "distance_log_r2") is None


def test_the_power_of_the_growth_is_that_of_scipy() -> None:
    random = np.random.default_rng(1905)
    seen = [100 * (at + 1) for at in range(9)]
    distances = [float(0.3 * s**0.4 * np.exp(random.normal(0, 0.1))) for s in seen]
    fit = stats.linregress(np.log(np.array(seen) / 10), np.log(distances))
    end = walk(*zip(seen, distances, strict=True))
    assert measured(end, "distance_power") == pytest.approx(fit.slope)


@pytest.mark.parametrize("power", [0.25, 0.5, 1.0])
def test_a_power_is_recovered_from_three_positive_distances(power: float) -> None:
    ends = [(10 * steps, 2.0 * steps**power) for steps in (2, 4, 8)]
    assert measured(walk(*ends), "distance_power") == pytest.approx(power)
    assert measured(walk((10, 0.0), *ends, (400, None)), "distance_power") == pytest.approx(power)
    for few in (walk(*ends[:2]), walk((10, 0.0), *ends[:2]), walk(*ends[:2], (400, None)), walk()):
        assert measured(few, "distance_power") is None


# ---- the probe

LAST = (
    draws(1, 5.0, 0.25, spread=1.0),
    draws(8, 2.0, 0.5, spread=1.0),
    competition(1, 16, 0.6, ratio=3.0, straightness=0.5),
    competition(1, 4, 0.9),
)
FIRST = (draws(1, 50.0, 0.1), draws(8, 20.0, 0.2), competition(1, 4, 0.7))
HELD = Ended(probes={0.0: FIRST, 1.0: LAST})


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ("probe_norm_mean", 2.0),
        ("probe_norm_cv", math.sqrt(2) / 2),
        ("probe_kurtosis", 4.0),
        ("pairwise_cosine", 0.5),
        ("competition_cosine", 0.9),
        ("competition_length_ratio", 2.0),
        ("competition_straightness", 0.8),
        ("competition_step_cosine", 0.25),
    ],
)
def test_the_probe_is_read_at_its_last_moment_and_the_trials_own_size(
    measure: str, expected: float
) -> None:
    assert measured(HELD, measure, probe=PROBE) == pytest.approx(expected)
    assert measured(Ended(), measure, probe=PROBE) is None


def test_the_probe_can_be_read_elsewhere() -> None:
    state = sweep([(configuration(8, seeds=1, probe=PROBE), [HELD])])
    trial = state.trials["b8-s0"]
    for measure, spot, expected in (
        ("probe_norm_mean", Spot(level=1), 5.0),
        ("probe_norm_mean", Spot(at_share=0.0), 20.0),
        ("probe_norm_mean", Spot(1, 0.0), 50.0),
        ("probe_norm_mean", Spot(level=64), None),
        ("competition_cosine", Spot(level=16), 0.6),
        ("competition_cosine", Spot(16, 0.0), None),
        ("competition_cosine", Spot(at_share=0.5), None),
    ):
        assert value_of(state, trial, measure, spot) == expected


def test_another_size_than_those_drawn_has_no_value() -> None:
    state = sweep([(configuration(64, seeds=1, probe=PROBE), [HELD])])
    assert value_of(state, state.trials["b64-s0"], "probe_norm_mean") is None


def test_gradients_that_are_all_broken_have_no_figures() -> None:
    norms_broken = ev.NormSlice(0, 0, 0.0, 0.0, 0, (), broken=2)
    broken = ev.Draws(batch_size=8, norms=norms_broken, values=None, pairwise_cosine=None)
    end = Ended(probes={1.0: (broken,)})
    assert all(measured(end, measure, probe=PROBE) is None for measure in PROBED)


# ---- findings.json


def document(state: SweepState) -> Any:
    return json.loads(bundle._json(findings.document(state)))["findings"]


def seeds() -> list[Ended]:
    """Norms at the end of 5, 6 and 7 at size 1 and of 2 at size 8."""
    return [
        replace(HELD, probes={0.0: FIRST, 1.0: (draws(1, 5.0 + at), *LAST[1:])}) for at in range(3)
    ]


def test_probes_have_intervals_and_are_measured_in_the_smallest_size() -> None:
    lost = Ended(status="diverged", probes={1.0: (draws(1, 1e9),)})
    found = document(sweep([(configuration(8, seeds=4, probe=PROBE), [*seeds(), lost])]))
    places = [(row["configuration"], row["at_share"], row["batch_size"]) for row in found["probes"]]
    assert places == [("b8", 0.0, 1), ("b8", 0.0, 8), ("b8", 1.0, 1), ("b8", 1.0, 8)]
    small, large = found["probes"][2:]
    low, high = stats.t.interval(0.95, 2, 6, stats.sem([5, 6, 7]))
    expected = {
        "mean": 6.0,
        "low": low,
        "high": high,
        "n": 3,
        "normalized": 1.0,
        "without_value": 0,
    }
    assert small["norm_mean"] == pytest.approx(expected)
    assert large["norm_mean"]["normalized"] == pytest.approx(2 / 6)
    assert large["norm_cv"]["mean"] == pytest.approx(math.sqrt(2) / 2)
    assert large["pairwise_cosine"]["normalized"] is None, "the smallest size has none to go by"
    assert set(small) == {
        "configuration", "label", "at_share", "batch_size", "norm_mean", "norm_cv", "kurtosis",
        "pairwise_cosine",
    }  # fmt: skip


def test_competitions_stand_beside_the_smallest_pair() -> None:
    found = document(sweep([(configuration(8, seeds=3, probe=PROBE), seeds())]))
    rows = found["competitions"]
    assert [(row["at_share"], row["small"], row["large"]) for row in rows] == [
        (0.0, 1, 4),
        (1.0, 1, 4),
        (1.0, 1, 16),
    ]
    assert rows[2]["cosine"]["mean"] == pytest.approx(0.6)
    assert rows[2]["cosine"]["normalized"] == pytest.approx(0.6 / 0.9)
    assert rows[2]["length_ratio"]["normalized"] == pytest.approx(1.5)
    assert (rows[2]["straightness"]["mean"], rows[2]["step_cosine"]["mean"]) == (0.5, 0.25)


def test_nothing_is_measured_in_a_cosine_that_may_be_zero() -> None:
    ends = [
        replace(HELD, probes={1.0: (draws(1, 5.0, cosine), draws(8, 2.0, 0.5 + cosine))})
        for cosine in (-0.02, 0.01, 0.02)
    ]
    rows = document(sweep([(configuration(8, seeds=3, probe=PROBE), ends)]))["probes"]
    assert [row["pairwise_cosine"]["normalized"] for row in rows] == [None, None]
    assert rows[1]["norm_mean"]["normalized"] == pytest.approx(0.4)


def test_a_figure_that_no_seed_has_is_unknown() -> None:
    found = document(sweep([(configuration(8, seeds=1, probe=PROBE), [HELD])]))
    assert found["probes"][3]["norm_mean"] == {
        "mean": 2.0,
        "low": None,
        "high": None,
        "n": 1,
        "normalized": 0.4,
        "without_value": 0,
    }
    plain = ev.Draws(
        batch_size=1, norms=ev.NormSlice(0, 1, 2.0, 0.0, 201, (1,)), values=None,
        pairwise_cosine=None,
    )  # fmt: skip
    only = Ended(probes={1.0: (plain,)})
    (row,) = document(sweep([(configuration(8, seeds=1, probe=PROBE), [only])]))["probes"]
    assert (row["norm_cv"], row["kurtosis"], row["pairwise_cosine"]) == (None, None, None)


def test_a_mean_of_the_probe_says_how_many_seeds_lack_it() -> None:
    ends = [
        replace(HELD, probes={1.0: (draws(1, 5.0, cosine), draws(8, 2.0, 0.5))})
        for cosine in (0.1, None, 0.2)
    ]
    small, _ = document(sweep([(configuration(8, seeds=3, probe=PROBE), ends)]))["probes"]
    assert small["pairwise_cosine"]["n"] == 2
    assert small["pairwise_cosine"]["without_value"] == 1
    assert small["norm_mean"]["without_value"] == 0


def test_without_a_probe_nothing_is_said_of_one() -> None:
    assert list(document(sweep([(configuration(8), [0.9] * 3)]))) == ["configurations"]


def test_what_is_always_measured_is_among_the_figures_where_known() -> None:
    always = {
        "grad_norm_cv", "grad_norm_cv_early", "grad_norm_cv_late", "weight_norm",
        "path_per_sample", "distance_log_slope", "distance_log_r2", "distance_power",
    }  # fmt: skip
    random = np.random.default_rng(2)
    ends = [
        walk(
            (80, 1.0),
            (120, 2.0 + at / 10),
            (160, 2.2),
            path_length=4.0 + at,
            norms=pieces([float(v) for v in random.lognormal(size=20)], 1),
        )
        for at in range(2)
    ]
    (full,) = figures(sweep([(configuration(8, seeds=2), ends)]))
    assert always < set(full.figures)
    assert full.figures["path_per_sample"].mean == pytest.approx(4.5 / 160)
    (bare,) = figures(sweep([(configuration(8, seeds=2), [0.9, 0.9])]))
    assert always & set(bare.figures) == {"weight_norm"}


def test_every_finding_of_a_trial_without_epochs_is_unknown() -> None:
    state = sweep([(configuration(8, seeds=1), [])])
    trial = state.trials["b8-s0"]
    assert all(value_of(state, trial, name) is None for name in NAMED)
