"""Grid and cells are expanded into configurations, and these into trials with readable ids."""

import re
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchscope.engine.errors import UsageProblem
from batchscope.engine.experiment.fields import full_key
from batchscope.engine.spec import MAX_TRIALS, Configuration, Trial, trials_of
from tests.messages import says
from tests.unit.engine.grid_fixtures import configurations, notes, refusal

QUICK = settings(max_examples=200, deadline=None)


def ids(**more: Any) -> list[str]:
    return [configuration.id for configuration in configurations(**more)]


def value(configuration: Configuration, path: str) -> Any:
    table, key = path.split(".")
    return getattr(getattr(configuration.settings, table), key)


# ---- what unfolds


def test_without_grid_and_cells_there_is_one_configuration() -> None:
    nothing: list[dict[str, Any]] = [{}, {"grid": {}}, {"cells": []}, {"grid": {}, "cells": []}]
    for more in nothing:
        (configuration,) = configurations(**more)
        assert configuration.id == "b64"
        assert configuration.label == "64"
        assert configuration.seeds == (0,)
        assert trials_of(configuration) == [
            Trial(id="b64-s0", configuration="b64", seed=0, settings=configuration.settings)
        ]


def test_a_grid_is_the_product_of_its_lists_in_order() -> None:
    found = configurations(grid={"train": {"lr": [0.1, 0.5]}, "batch_size": [8, 4]}, seeds=3)
    assert [(c.settings.train.lr, c.settings.train.batch_size) for c in found] == [
        (0.1, 8),
        (0.1, 4),
        (0.5, 8),
        (0.5, 4),
    ]
    assert [c.id for c in found] == ["b8-lr0.1", "b4-lr0.1", "b8-lr0.5", "b4-lr0.5"]
    assert [c.label for c in found] == ["8, lr 0.1", "4, lr 0.1", "8, lr 0.5", "4, lr 0.5"]
    assert [c.seeds for c in found] == [(0, 1, 2)] * 4
    assert [trial.id for trial in trials_of(found[1])] == [
        "b4-lr0.1-s0",
        "b4-lr0.1-s1",
        "b4-lr0.1-s2",
    ]


def test_cells_are_added_to_the_grid() -> None:
    cells = [{"batch_size": 4, "lr": 0.5, "label": "4, raised"}, {"train": {"batch_size": 2}}]
    found = configurations(grid={"batch_size": [8, 4]}, cells=cells)
    assert [(c.settings.train.batch_size, c.settings.train.lr) for c in found] == [
        (8, 0.1),
        (4, 0.1),
        (4, 0.5),
        (2, 0.1),
    ]
    assert [c.id for c in found] == ["b8-lr0.1", "b4-lr0.1", "b4-lr0.5", "b2-lr0.1"]
    assert [c.label for c in found] == ["8, lr 0.1", "4, lr 0.1", "4, raised", "2, lr 0.1"]


def test_cells_without_a_grid() -> None:
    assert ids(cells=[{"batch_size": 4}, {"batch_size": 8}]) == ["b4", "b8"]


@pytest.mark.parametrize(
    ("grid", "expected"),
    [
        ({"optimizer": ["sgd", "adam"]}, ["b64-sgd", "b64-adam"]),
        ({"data.name": ["digits", "mnist"]}, ["b64-digits", "b64-mnist"]),
        ({"model.name": ["mlp", "cnn"]}, ["b64-mlp", "b64-cnn"]),
        ({"optimizer": ["momentum"], "momentum": [0.5, 0.9]}, ["b64-m0.5", "b64-m0.9"]),
        ({"weight_decay": [0, 5e-4]}, ["b64-wd0", "b64-wd0.0005"]),
        ({"lr": [1e-05, 1]}, ["b64-lr1e-05", "b64-lr1"]),
        ({"steps": [10, 20]}, ["b64-steps-10", "b64-steps-20"]),
        ({"hidden": [[], [8], [16, 8]]}, ["b64-hidden", "b64-hidden-8", "b64-hidden-16-8"]),
        (
            {"micro_batch_size": ["auto", 4]},
            ["b64-micro-batch-size-auto", "b64-micro-batch-size-4"],
        ),
        (
            {"loss_reduction": ["mean", "sum"]},
            ["b64-loss-reduction-mean", "b64-loss-reduction-sum"],
        ),
    ],
)
def test_an_id_names_only_what_varies(grid: dict[str, list[Any]], expected: list[str]) -> None:
    assert ids(grid=grid) == expected


def test_equal_names_are_numbered() -> None:
    assert ids(grid={"lr": [0.1, 0.10000001, 0.10000002]}) == [
        "b64-lr0.1",
        "b64-lr0.1.2",
        "b64-lr0.1.3",
    ]


def test_a_large_value_is_not_named_like_a_small_one() -> None:
    large, small = ids(grid={"lr": [1e6, 1e-6]})
    assert small == "b64-lr1e-06"
    assert "-06" not in large


def test_a_long_name_is_cut_and_still_unique() -> None:
    layers = [[8] * 40, [8] * 41]
    found = ids(grid={"hidden": layers})
    assert len(set(found)) == 2
    assert all(len(name) <= 60 and name.startswith("b64-hidden-8-8") for name in found)


def test_a_value_that_the_grid_replaces_is_noted() -> None:
    assert notes() == []
    (note,) = notes(grid={"lr": [0.1, 0.2]})
    assert says(note, "train.lr | [train] | no effect | [grid]")
    assert notes(grid={"weight_decay": [0.1, 0.2]}) == []


def test_a_value_that_a_cell_uses_is_not_noted() -> None:
    grid, cell = {"lr": [0.2, 0.3]}, {"batch_size": 2}
    assert notes(grid=grid, cells=[cell]) == []
    (note,) = notes(grid=grid, cells=[{**cell, "lr": 0.9}])
    assert says(note, "train.lr | [train] | no effect | [grid]")


def test_equal_configurations_are_rejected() -> None:
    same = "configurations 1 and 2 | the same"
    assert says(refusal(grid={"momentum": [0.5, 0.9]}), same)
    assert says(refusal(grid={"base_batch_size": [8, 16]}), same)
    assert says(refusal(grid={"hidden": [[128, 64]]}, cells=[{"lr": 0.1}]), same)


@pytest.mark.parametrize("key", ["steps", "samples", "seconds"])
def test_a_budget_in_grid_or_cell_replaces_that_of_the_table(key: str) -> None:
    for more in ({"grid": {key: [7]}}, {"cells": [{key: 7}]}, {"cells": [{"train": {key: 7}}]}):
        (configuration,) = configurations(**more)
        train = configuration.settings.train
        assert getattr(train, key) == 7
        assert train.epochs is None


def test_two_budgets_in_one_cell_or_grid() -> None:
    expected = "train: | one budget | steps and samples"
    assert says(refusal(cells=[{"steps": 3, "samples": 7}]), expected)
    assert says(refusal(grid={"steps": [3], "samples": [7]}), expected)


# ---- what is refused


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"grid": 3}, "grid: expected a table, written [grid]"),
        ({"grid": [{"lr": [1]}]}, "grid: expected a table, written [grid]"),
        ({"cells": 3}, "cells: expected tables, written [[cells]]"),
        ({"cells": {"lr": 1}}, "cells: expected tables, written [[cells]]"),
        ({"cells": [{"lr": 1}, 3]}, "cells: expected tables, written [[cells]]"),
        ({"cells": [{"label": 3}]}, "cells[0].label: | got 3"),
        (
            {"grid": {"batch_size": 8}},
            "grid.batch_size: expected a list of at least one value, got 8",
        ),
        (
            {"grid": {"batch_size": []}},
            "grid.batch_size: expected a list of at least one value, got []",
        ),
        (
            {"grid": {"lr": [0.1], "train": {"lr": [0.2]}}},
            "grid.train.lr: train.lr | twice",
        ),
        (
            {"grid": {"train.lr": [0.1], "lr": [0.2]}},
            "grid.lr: train.lr | twice",
        ),
        (
            {"grid": {"batch_size": [8, 4, 8]}},
            "configurations 1 and 3 | the same",
        ),
        (
            {"grid": {"lr": [1, 1.0]}},
            "configurations 1 and 2 | the same",
        ),
        (
            {"grid": {"batch_size": [8, 4]}, "cells": [{"batch_size": 4, "label": "again"}]},
            "configurations 2 and 3 | the same",
        ),
        (
            {"probe": {"batch_sizes": [1, 8]}},
            "probe.at: required | for example [0, 0.5, 1]",
        ),
        (
            {"probe": {"at": [0], "pairs": [[1, 4], [8, 12]]}},
            "probe.pairs: [8, 12]: | multiple",
        ),
        (
            {"probe": {"at": [0], "pairs": [[8, 8]]}},
            "probe.pairs: [8, 8]: | multiple",
        ),
        (
            {"cells": [{}, {"lr": 0.1}]},
            "configurations 1 and 2 | the same",
        ),
    ],
)
def test_mistakes_are_rejected_with_their_key(more: dict[str, Any], message: str) -> None:
    assert says(refusal(**more), message)


def test_a_key_given_twice_in_a_cell_is_rejected() -> None:
    assert "train.lr" in refusal(cells=[{"lr": 0.2, "train": {"lr": 0.3}}])


def test_the_maximum_number_of_trials() -> None:
    grid = {"batch_size": list(range(1, 51)), "lr": [step / 1000 for step in range(1, 21)]}
    assert len(configurations(grid=grid, seeds=100)) * 100 == MAX_TRIALS
    message = refusal(grid=grid, cells=[{"batch_size": 999}], seeds=100)
    assert says(message, "grid | 100,100 trials | at most 100,000")
    message = refusal(seeds=MAX_TRIALS + 1)
    assert says(message, f"grid | {MAX_TRIALS + 1:,} trials | at most 100,000")
    assert sum(len(c.seeds) for c in configurations(seeds=MAX_TRIALS)) == MAX_TRIALS


def test_a_huge_product_is_rejected_at_once() -> None:
    grid = {
        key: list(range(1, 1000))
        for key in ("batch_size", "epochs", "base_batch_size", "micro_batch_size")
    }
    assert says(refusal(grid=grid, seeds=2**53), "grid | trials | at most 100,000")


# ---- keys


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("lr", "train.lr"),
        ("train.lr", "train.lr"),
        ("hidden", "model.hidden"),
        ("rule", "scaling.rule"),
        ("micro_batch_size", "memory.micro_batch_size"),
        ("timing", "run.timing"),
        ("data.name", "data.name"),
    ],
)
def test_bare_and_dotted_keys(key: str, path: str) -> None:
    assert full_key(key, "here") == path


@pytest.mark.parametrize("key", ["", ".", "train.", ".lr", "train.lr.x", "LR", "label", "grid"])
def test_unknown_keys(key: str) -> None:
    with pytest.raises(UsageProblem, match=r"^here: unknown key "):
        full_key(key, "here")


# ---- any grid


POSSIBLE: dict[str, st.SearchStrategy[Any]] = {
    "train.batch_size": st.integers(1, 2**53),
    "train.lr": st.floats(1e-12, 1e12) | st.integers(1, 99),
    "train.momentum": st.floats(0, 0.999),
    "train.weight_decay": st.floats(0, 1e6),
    "train.optimizer": st.sampled_from(["sgd", "momentum", "rmsprop"]),
    "train.epochs": st.integers(1, 10**6),
    "train.target_accuracy": st.floats(0.01, 1),
    "model.hidden": st.lists(st.integers(1, 512), max_size=12),
    "scaling.warmup_epochs": st.floats(0, 9),
    "memory.micro_batch_size": st.integers(1, 99) | st.just("auto"),
    "run.timing": st.sampled_from(["shared", "alone"]),
}


def plain(path: str, chosen: Any) -> Any:
    """A value as the settings hold it."""
    if isinstance(chosen, list):
        return tuple(chosen)
    return float(chosen) if path == "train.lr" else chosen


def resolved(overrides: dict[str, Any]) -> dict[str, Any]:
    """What the settings must hold: the overrides over what the base says of the same keys."""
    (default,) = configurations()
    return {path: plain(path, overrides.get(path, value(default, path))) for path in POSSIBLE}


@st.composite
def asked(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A grid and cells with keys bare or dotted, and what each configuration must hold."""

    def spelled(overrides: dict[str, Any]) -> dict[str, Any]:
        bare = {path: draw(st.booleans()) for path in overrides}
        return {path.split(".")[1] if bare[path] else path: v for path, v in overrides.items()}

    paths = draw(st.lists(st.sampled_from(sorted(POSSIBLE)), unique=True, max_size=3))
    values = {path: draw(st.lists(POSSIBLE[path], min_size=1, max_size=3)) for path in paths}
    cells = draw(st.lists(st.fixed_dictionaries({}, optional=POSSIBLE), max_size=3))
    chosen = [dict(zip(values, row, strict=True)) for row in product(*values.values())]
    expected = [*(chosen if values or not cells else []), *cells]
    more = {"grid": spelled(values), "cells": [spelled(cell) for cell in cells]}
    return more, [resolved(overrides) for overrides in expected]


def essence(settings: dict[str, Any]) -> dict[str, Any]:
    """What a training reads: momentum belongs to one optimizer here, and no width is a width."""
    unread = {} if settings["train.optimizer"] == "momentum" else {"train.momentum": None}
    widths = {"model.hidden": (128, 64)} if settings["model.hidden"] is None else {}
    return {**settings, **unread, **widths}


@QUICK
@given(what=asked(), seeds=st.integers(1, 4))
def test_any_grid_is_expanded_into_its_product_and_its_cells(
    what: tuple[dict[str, Any], list[dict[str, Any]]], seeds: int
) -> None:
    more, expected = what
    read = [essence(one) for one in expected]
    twins = [(read.index(one), at) for at, one in enumerate(read)]
    twins = [(first, at) for first, at in twins if first != at]
    if twins:
        first, second = twins[0]
        same = f"configurations {first + 1} and {second + 1} | the same"
        assert says(refusal(**more, seeds=seeds), same)
        return
    found = configurations(**more, seeds=seeds)
    assert [{path: value(c, path) for path in POSSIBLE} for c in found] == expected
    assert configurations(**more, seeds=seeds) == found
    _check_names(found, seeds)


def _check_names(found: list[Configuration], seeds: int) -> None:
    names = [configuration.id for configuration in found]
    assert len(set(names)) == len(names)
    for configuration in found:
        assert re.fullmatch(r"b\d+(-[-a-z0-9.]+)?", configuration.id)
        assert configuration.id.startswith(f"b{configuration.settings.train.batch_size}")
        assert len(configuration.id) <= 64
        assert configuration.seeds == tuple(range(seeds))
    trials = [trial for configuration in found for trial in trials_of(configuration)]
    assert len({trial.id for trial in trials}) == len(found) * seeds
    assert all(trial.id == f"{trial.configuration}-s{trial.seed}" for trial in trials)


@QUICK
@given(
    sizes=st.lists(st.integers(1, 2**53), unique=True, min_size=1, max_size=6),
    rates=st.lists(st.sampled_from([1e-4, 0.003, 0.05, 0.1, 1.0]), unique=True, min_size=1),
    randomness=st.randoms(),
)
def test_an_id_does_not_depend_on_the_order_of_writing(
    sizes: list[int], rates: list[float], randomness: Any
) -> None:
    def named(sizes: list[int], rates: list[float], swap: bool) -> dict[tuple[int, float], str]:
        grid: dict[str, list[Any]] = {"batch_size": [*sizes], "lr": [*rates]}
        if swap:
            grid = dict(reversed(grid.items()))
        return {
            (c.settings.train.batch_size, c.settings.train.lr): c.id
            for c in configurations(grid=grid)
        }

    shuffled = randomness.sample(sizes, len(sizes)), randomness.sample(rates, len(rates))
    assert named(sizes, rates, False) == named(*shuffled, True)


def test_keeping_weights_makes_no_other_configuration() -> None:
    grid = {"run.keep_weights": [True, False]}
    assert "configurations 1 and 2 of grid and cells are the same" in refusal(grid=grid)
    kept = configurations(grid={"batch_size": [4, 8]}, run={"keep_weights": True})
    assert [each.settings.run.keep_weights for each in kept] == [True, True]
    assert [each.id for each in kept] == ids(grid={"batch_size": [4, 8]})
