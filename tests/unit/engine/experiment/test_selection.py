"""`[select]` is expanded into candidates with their rivals; what is rejected."""

from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchscope.engine.errors import UsageProblem
from batchscope.engine.experiment.preset import assign, parse_preset
from batchscope.engine.spec import Configuration, Selection
from tests.messages import says
from tests.unit.engine.grid_fixtures import base, configurations, notes, refusal

RATES = [0.01, 0.03, 0.1]


def without_rate(**more: Any) -> dict[str, Any]:
    return {"train": {"batch_size": 64, "epochs": 2}, **more}


def groups(found: list[Configuration]) -> dict[str, list[float]]:
    told: dict[str, list[float]] = {}
    for each in found:
        told.setdefault(each.rivals, []).append(each.settings.train.lr)
    return told


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.lists(st.integers(2, 500), min_size=1, max_size=4, unique=True),
    rates=st.lists(st.sampled_from([0.01, 0.02, 0.5, 1.0, 2.0]), min_size=1, unique=True),
    momenta=st.lists(st.sampled_from([0.0, 0.5, 0.9]), min_size=1, unique=True),
)
def test_every_configuration_of_the_grid_has_every_candidate(
    sizes: list[int], rates: list[float], momenta: list[float]
) -> None:
    found = configurations(
        train={"epochs": 2, "optimizer": "momentum"},
        grid={"batch_size": sizes},
        select={"lr": rates, "momentum": momenta},
    )
    trains = [each.settings.train for each in found]
    values = [(train.batch_size, train.lr, train.momentum) for train in trains]
    assert values == list(product(sizes, rates, momenta))
    assert [each.rivals for each in found] == [
        str(size) for size in sizes for _ in product(rates, momenta)
    ]
    assert len({each.id for each in found}) == len({each.label for each in found}) == len(found)
    assert {each.settings.data.validation for each in found} == {0.1}


def test_a_group_is_named_by_the_common_settings() -> None:
    found = configurations(
        **without_rate(
            grid={"batch_size": [8, 64], "optimizer": ["sgd", "adam"]}, select={"lr": RATES}
        )
    )
    assert groups(found) == {
        "8, sgd": RATES, "8, adam": RATES, "64, sgd": RATES, "64, adam": RATES
    }  # fmt: skip


def test_without_select_there_are_no_rivals() -> None:
    (only,) = configurations()
    assert (only.rivals, only.settings.data.validation) == ("", 0.0)


def test_cells_have_candidates_except_in_keys_they_set() -> None:
    found = configurations(
        **without_rate(
            grid={"batch_size": [8]},
            cells=[
                {"batch_size": 64, "label": "large"},
                {"batch_size": 64, "lr": 0.5, "label": "as it is"},
            ],
            select={"lr": RATES},
        )
    )
    assert groups(found) == {"8": RATES, "large": RATES, "": [0.5]}
    assert [each.label for each in found[3:]] == [
        "large, lr 0.01", "large, lr 0.03", "large, lr 0.1", "as it is"
    ]  # fmt: skip


def test_groups_with_equal_names_are_numbered() -> None:
    cells = [{"batch_size": size, "label": "same"} for size in (8, 16)]
    found = configurations(**without_rate(cells=cells, select={"lr": RATES}))
    assert list(groups(found)) == ["same", "same.2"]


def test_the_given_validation_share_is_kept() -> None:
    data = {"name": "digits", "validation": 0.25}
    found = configurations(**without_rate(data=data, select={"lr": RATES}))
    assert {each.settings.data.validation for each in found} == {0.25}


@pytest.mark.parametrize("by", ["validation_accuracy", "validation_loss", "steps_to_target"])
def test_the_criterion_is_read(by: str) -> None:
    raw = base(
        title="t",
        train={"batch_size": 8, "epochs": 2, "target_accuracy": 0.5},
        select={"lr": RATES, "by": by},
    )
    expected = Selection(keys=("train.lr",), by=by)
    assert parse_preset(raw, "p", "file.toml").selection == expected


def test_accuracy_is_the_default_criterion() -> None:
    raw = base(title="t", select={"train": {"lr": RATES}})
    found = parse_preset(raw, "p", "file.toml")
    assert found.selection == Selection(keys=("train.lr",), by="validation_accuracy")
    (note,) = found.notes
    assert says(note, "train.lr | [train] | no effect | [select]")
    assert parse_preset(base(title="t"), "p", "file.toml").selection is None


def test_fresh_seeds_are_read_and_counted() -> None:
    cells = [{"batch_size": 64, "lr": 0.5, "label": "as it is"}]
    select = {"lr": RATES, "seeds_after": 5}
    raw = base(title="t", grid={"batch_size": [8, 64]}, cells=cells, select=select, seeds=3)
    found = parse_preset(raw, "p", "file.toml")
    assert found.selection == Selection(keys=("train.lr",), seeds_after=5)
    assert {each.seeds for each in found.configurations if each.rivals} == {(0, 1, 2)}
    (free,) = (each for each in found.configurations if not each.rivals)
    assert free.seeds == (3, 4, 5, 6, 7), "they are paired with the chosen ones"
    assert found.trial_count == 2 * 3 * 3 + 5
    assert found.trials_after_choice == 2 * 5
    foreseen = found.foreseen[len(found.configurations) :]
    assert [(each.id, each.label, each.seeds) for each in foreseen] == [
        ("b8-chosen", "8", free.seeds), ("b64-chosen", "64", free.seeds)
    ]  # fmt: skip


def test_without_fresh_seeds_nothing_follows_the_choice() -> None:
    found = parse_preset(base(title="t", select={"lr": RATES}, seeds=3), "p", "file.toml")
    assert found.trials_after_choice == 0
    assert found.foreseen == found.configurations


def test_fresh_seeds_are_set_on_the_command_line() -> None:
    raw = base(title="t", select={"lr": RATES})
    assign(raw, "select.seeds_after=4")
    selection = parse_preset(raw, "p", "file.toml").selection
    assert selection is not None
    assert selection.seeds_after == 4


def test_ids_of_a_group_are_short_and_distinct() -> None:
    cells = [{"batch_size": size, "label": "long " * 30} for size in (8, 16)]
    raw = base(title="t", cells=cells, select={"lr": RATES, "seeds_after": 1})
    found = parse_preset(raw, "p", "file.toml")
    ids = [each.id for each in found.foreseen[len(found.configurations) :]]
    assert len(set(ids)) == 2
    assert all(len(name) <= 62 for name in ids)


def test_a_line_needs_a_seed_that_both_ends_have() -> None:
    line = {"from": {"label": "64, lr 0.1"}, "to": {"label": "as it is"}}
    cells = [{"batch_size": 64}, {"batch_size": 64, "lr": 0.5, "label": "as it is"}]
    raw = base(title="t", cells=cells, select={"lr": RATES}, seeds=2, interpolation=line)
    assert parse_preset(raw, "p", "file.toml").interpolation is not None
    raw["select"]["seeds_after"] = 3
    with pytest.raises(UsageProblem) as caught:
        parse_preset(raw, "p", "file.toml")
    assert says(str(caught.value), "file.toml: interpolation: | seeds_after | 0 to 1 | 2 to 4")


def test_a_value_that_select_overrides_is_noted() -> None:
    (note,) = notes(select={"lr": RATES})
    assert says(note, "train.lr | [train] | no effect | [select]")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"select": [1]}, "select: | table"),
        ({"select": {"by": "validation_loss"}}, "select: | key | values"),
        ({"select": {"lr": []}}, "select.lr: expected a list of at least one value, got []"),
        ({"select": {"lr": 0.1}}, "select.lr: expected a list of at least one value, got 0.1"),
        ({"select": {"lr": [0.1, -1.0]}}, "select.lr[1]: expected a number"),
        ({"select": {"lr": [0.1, 0.1]}}, "configurations 1 and 2"),
        ({"select": {"rate": [0.1]}}, "select: unknown key 'rate'"),
        ({"select": {"bi": "validation_loss"}}, "select: unknown key 'bi'"),
        ({"select": {"lr": RATES, "by": "loss"}}, "select.by: expected one of steps_to_target"),
        ({"select": {"lr": RATES, "by": 3}}, "select.by: expected one of"),
        ({"select": {"seeds_after": 5}}, "select: | key | values"),
        ({"select": {"lr": RATES, "seeds_after": -1}}, "select.seeds_after: expected an integer"),
        ({"select": {"lr": RATES, "seeds_after": 1.5}}, "select.seeds_after: expected an integer"),
        ({"select": {"lr": RATES, "seed_after": 5}}, "select | 'seed_after' | seeds_after"),
        ({"select": {"lr": RATES, "seeds_after": 10**9}}, "grid | 1,000,000,003 trials"),
        ({"select": {"lr": RATES, "train": {"lr": RATES}}}, "select.train.lr: train.lr | twice"),
        (
            {"grid": {"train.lr": [0.1]}, "select": {"lr": RATES}},
            "select.lr: | [grid]",
        ),
        ({"select": {"data.name": ["digits", "mnist"]}}, "select.data.name: cannot"),
        ({"select": {"validation": [0.1, 0.2]}}, "select.validation: cannot"),
        ({"select": {"target_accuracy": [0.1]}}, "select.target_accuracy: cannot"),
        (
            {"data": {"name": "digits", "validation": 0}, "select": {"lr": RATES}},
            "data.validation: must be above 0 with [select]",
        ),
        (
            {"select": {"lr": RATES, "by": "steps_to_target"}},
            "select.by: steps_to_target needs train.target_accuracy",
        ),
        ({"select": {"lr": [0.1] * 100_001}}, "grid | 100,001 trials"),
    ],
)  # fmt: skip
def test_mistakes_are_rejected_with_their_key(more: dict[str, Any], message: str) -> None:
    assert says(refusal(**more), message)


def test_a_claim_about_an_unknown_label_lists_the_groups() -> None:
    claim = {
        "statement": "s",
        "measure": "test_accuracy",
        "left": {"label": "16"},
        "relation": "greater",
        "value": 0.5,
    }
    raw = base(title="t", select={"lr": [0.1, 0.2]}, claims=[claim])
    with pytest.raises(UsageProblem) as caught:
        parse_preset(raw, "p", "file.toml")
    told = (
        "no configuration has label = '16'; the configurations are '64', '64, lr 0.1', '64, lr 0.2'"
    )
    assert str(caught.value) == f"file.toml: claims[0].left: {told}"
