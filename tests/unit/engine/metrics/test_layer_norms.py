"""Gradient norms by layer as a trial states them, against plain arithmetic."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchscope.engine.analysis.layer_shares import layer_means
from batchscope.engine.errors import UsageProblem
from batchscope.engine.experiment.claims import read_claims
from batchscope.engine.journal import events as ev
from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.metrics.layer_norms import has_layer_norms, layer_norms, stated_norms
from batchscope.engine.metrics.metric import Spot
from batchscope.engine.metrics.registry import value_of
from tests.unit.training_fixtures import configuration, opened

LAYERS = ("conv1", "linear1")


def sweep_of(*epochs: list[list[float]]) -> SweepState:
    """One trial of as many epochs of ten steps; of each the norms of each layer, step by step."""
    state = SweepState().fold(opened([configuration(8)]))
    trial = next(iter(state.trials.values()))
    state.apply(
        ev.TrialStarted(
            trial=trial.id, attempt=1, worker=0, device="cpu", batch_size=8, micro_batch_size=8,
            total_steps=10 * len(epochs), steps_per_epoch=10, parameters=30, init_norm=1.0, lr=0.1,
            layers=LAYERS, layer_parameters=(10, 20),
        )
    )  # fmt: skip
    for epoch, norms in enumerate(epochs, 1):
        draws = len(norms[0]) if norms else 0
        layers = tuple(
            ev.LayerNorm(sum(of) / draws, sum((n - sum(of) / draws) ** 2 for n in of))
            for of in norms
        )
        record = ev.EpochRecord(
            epoch=epoch, steps=10 * epoch, samples=80 * epoch, lr=0.1, train_loss=1.0,
            train_accuracy=0.5, test_loss=1.0, test_accuracy=0.5, seconds=1.0, epoch_samples=80,
            weight_norm=1.0, distance_from_init=1.0, norms=(), layer_draws=draws,
            layer_norms=layers,
        )  # fmt: skip
        state.apply(ev.EpochsFinished(trial=trial.id, attempt=1, records=(record,)))
    return state


def trial_of(state: SweepState) -> TrialState:
    return next(trial for trial in state.trials.values() if trial.started)


@given(
    st.lists(
        st.tuples(st.lists(st.floats(0.1, 9), min_size=3, max_size=3),
                  st.lists(st.floats(0.1, 9), min_size=3, max_size=3)),
        min_size=1, max_size=5,
    )
)  # fmt: skip
def test_epochs_are_merged_as_if_all_steps_were_one(
    epochs: list[tuple[list[float], list[float]]],
) -> None:
    trial = trial_of(sweep_of(*(list(norms) for norms in epochs)))
    found = layer_norms(trial)
    together = [[norm for epoch in epochs for norm in epoch[layer]] for layer in range(2)]
    squares = [sum(norm**2 for norm in of) for of in together]
    for each, of, square in zip(found, together, squares, strict=True):
        mean = sum(of) / len(of)
        assert each.mean == pytest.approx(mean)
        deviation = math.sqrt(sum((norm - mean) ** 2 for norm in of) / (len(of) - 1))
        assert each.cv == pytest.approx(deviation / mean, abs=1e-9)
        assert each.share == pytest.approx(square / sum(squares))
        assert each.draws == len(of)
    assert sum(each.share or 0.0 for each in found) == pytest.approx(1.0)


def test_a_share_of_the_steps_has_the_epochs_whose_middle_lies_in_it() -> None:
    epochs = [[[float(n)] * 2, [1.0] * 2] for n in range(1, 11)]
    trial = trial_of(sweep_of(*epochs))
    assert layer_norms(trial, 0.0, 0.2)[0].mean == pytest.approx(1.5)
    assert layer_norms(trial, 0.8, 1.0)[0].mean == pytest.approx(9.5)


def test_epochs_that_state_none_are_passed_over() -> None:
    trial = trial_of(sweep_of([[2.0, 2.0], [1.0, 1.0]], [], [[4.0, 4.0], [1.0, 1.0]]))
    assert [(epoch, steps) for epoch, steps, _ in stated_norms(trial)] == [(1, 10), (3, 30)]
    assert layer_norms(trial)[0].mean == pytest.approx(3.0)
    # the second statement is of the steps 11 to 30, whose middle lies at two thirds
    assert layer_norms(trial, 0.5, 1.0)[0].mean == pytest.approx(4.0)


def test_a_claim_reads_them_at_the_layer_that_it_names() -> None:
    state = sweep_of([[3.0, 5.0], [1.0, 1.0]])
    trial = trial_of(state)
    (_, last) = layer_norms(trial)
    read = {
        name: value_of(state, trial, name, Spot(layer="linear1"))
        for name in ("layer_norm_mean", "layer_norm_cv", "layer_norm_share")
    }
    assert read == {
        "layer_norm_mean": 1.0,
        "layer_norm_cv": 0.0,
        "layer_norm_share": pytest.approx(1 / 18),
    }
    assert last.share == read["layer_norm_share"]
    assert value_of(state, trial, "layer_norm_mean", Spot(layer="conv9")) is None
    assert value_of(state, trial, "layer_norm_mean") is None


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        ({"measure": "layer_norm_mean"}, ("layer", "required")),
        ({"measure": "layer_norm_mean", "layer": "linaer1"}, ("layer", "did you mean 'linear1'")),
        ({"measure": "test_loss", "layer": "linear1"}, ("layer", "measures of layers")),
        ({"measure": "layer_norm_mean", "layer": 1}, ("layer", "expected a string")),
    ],
)
def test_a_claim_must_name_a_layer_of_the_network(
    claim: dict[str, object], words: tuple[str, ...]
) -> None:
    whole = {"statement": "It is one", "relation": "greater", "value": 0.5, **claim}
    with pytest.raises(UsageProblem) as problem:
        read_claims([whole], [configuration(8)], "x.toml")
    assert all(word in str(problem.value) for word in words)


def test_without_any_there_is_nothing() -> None:
    state = SweepState().fold(opened([configuration(8)]))
    trial = next(iter(state.trials.values()))
    assert not has_layer_norms(trial)
    assert layer_norms(trial) == []
    assert layer_means(state, trial.configuration) == []


def test_a_gradient_of_zeros_has_no_shares() -> None:
    (first, _) = layer_norms(trial_of(sweep_of([[0.0, 0.0], [0.0, 0.0]])))
    assert (first.mean, first.cv, first.share) == (0.0, None, None)
