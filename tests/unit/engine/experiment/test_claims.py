"""How claims are read, and which configurations they select."""

from typing import Any

import msgspec
import pytest

from batchscope.engine.errors import UsageProblem
from batchscope.engine.experiment.preset import parse_preset
from batchscope.engine.experiment.preset_catalog import find_preset
from batchscope.engine.experiment.selectors import ladder
from batchscope.engine.findings.claim_verdicts import judge
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.spec import Claim
from tests.unit.engine.claims_fixtures import BASE, PAIR, TREND, parsed, without


def test_both_kinds_of_claim_are_read() -> None:
    fall, mend = parsed(TREND, PAIR).claims
    assert fall == Claim(
        statement="It falls", measure="test_accuracy", trend="decreasing", over="train.batch_size"
    )
    assert mend.left == {"label": "1024, raised rate"}
    assert mend.right == {"train.batch_size": 1024, "train.lr": 0.01}
    assert parse_preset(BASE, "mine", "x.toml").claims == ()


def test_keys_are_bare_or_dotted_and_texts_are_tidied() -> None:
    dotted = without(PAIR, statement=" It \n mends it ", right={"train": {"batch_size": 64}})
    (claim,) = parsed(dotted).claims
    assert claim.statement == "It mends it"
    assert claim.right == {"train.batch_size": 64}
    (claim,) = parsed(without(PAIR, left={"hidden": [4], "lr": 0.1}, right={"lr": 0.01})).claims
    assert claim.left == {"model.hidden": [4], "train.lr": 0.1}


@pytest.mark.parametrize("measure", ["test_accuracy", "epoch_seconds", "steps", "step_seconds"])
def test_any_number_can_be_measured(measure: str) -> None:
    assert parsed(without(TREND, measure=measure)).claims[0].measure == measure


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        (3, "claims: expected tables, written [[claims]]"),
        (without(TREND, mesure="x"), "claims[0]: unknown key 'mesure'; did you mean 'measure'?"),
        (without(TREND, "statement"), "claims[0].statement: required"),
        (without(TREND, statement=" "), "claims[0].statement: "),
        (without(TREND, statement=3), "claims[0].statement: "),
        (without(TREND, "measure"), "claims[0].measure: required"),
        (
            without(TREND, measure="test_acuracy"),
            "claims[0].measure: unknown measure 'test_acuracy'; did you mean 'test_accuracy'?",
        ),
        (without(TREND, measure="status"), "claims[0].measure: unknown measure 'status'"),
        (without(TREND, "over"), "claims[0].over: required"),
        (without(TREND, "trend"), "claims[0].trend: required"),
        (
            without(TREND, trend="decresing"),
            "claims[0].trend: expected one of decreasing, increasing, got 'decresing'; "
            "did you mean 'decreasing'?",
        ),
        (
            without(TREND, over="batchsize"),
            "claims[0].over: unknown key 'batchsize'; did you mean 'batch_size'?",
        ),
        (
            without(TREND, over="optimizer"),
            "claims[0].over: a trend needs numbers, and train.optimizer is 'sgd' in "
            "configuration '64, lr 0.01'",
        ),
        (
            without(TREND, over="max_lr"),
            "claims[0].over: a trend needs numbers, and scaling.max_lr is not set in "
            "configuration '64, lr 0.01'",
        ),
        (without(TREND, over="hidden"), "claims[0].over: a trend needs numbers, and model.hidden"),
        (
            {**TREND, **PAIR},
            "claims[0]: trend and left exclude each other: a claim is a trend over a setting, or "
            "left in a relation to right or to a value",
        ),
        (
            {"statement": "s", "measure": "steps"},
            "claims[0]: needs trend and over, or left, relation and right, or relation and value",
        ),
        (without(PAIR, "relation"), "claims[0].relation: required"),
        (without(PAIR, "right"), "claims[0].right: required, or value instead of it"),
        (
            without(PAIR, relation="less then"),
            "claims[0].relation: expected one of equal, greater, less, got 'less then'",
        ),
        (
            without(PAIR, relation="equal"),
            "claims[0].within: required by",
        ),
        (without(PAIR, within=0.1), "claims[0].within: belongs to the relation equal"),
        (without(TREND, within=0.1), "claims[0].within: belongs to the relation equal"),
        (
            without(PAIR, relation="equal", within=0),
            "claims[0].within: expected a number (above 0), got 0",
        ),
        (
            without(PAIR, relation="equal", within=float("inf")),
            "claims[0].within: ",
        ),
        (without(PAIR, left={}), "claims[0].left: "),
        (without(PAIR, left=64), "claims[0].left: "),
        (
            without(PAIR, left={"batchsize": 64}),
            "claims[0].left: unknown key 'batchsize'; did you mean 'batch_size'?",
        ),
        (
            without(PAIR, left={"batch_size": "64"}),
            "claims[0].left.batch_size: expected an integer (at least 1), got '64'",
        ),
        (without(PAIR, left={"label": 64}), "claims[0].left.label: "),
        (without(PAIR, left={"lr": 1, "train": {"lr": 1}}), "claims[0].left.train.lr: train.lr "),
        (
            without(PAIR, left={"label": "1024 raised rate"}),
            "claims[0].left: no configuration has label = '1024 raised rate'; "
            "did you mean '1024, raised rate'?",
        ),
        (
            without(PAIR, right={"batch_size": 128, "lr": 0.01}),
            "claims[0].right: no configuration has train.batch_size = 128 and train.lr = 0.01; "
            "the configurations are '64, lr 0.01', '1024, lr 0.01', '1024, raised rate'",
        ),
        (
            without(PAIR, right={"batch_size": 1024}),
            "claims[0]: left and right both select '1024, raised rate'",
        ),
    ],
)
def test_each_mistake_is_one_sentence(claim: Any, message: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        parsed(claim)
    assert str(caught.value).startswith(f"x.toml: {message}")
    assert str(caught.value).isprintable()


def test_the_claim_is_counted_and_foreign_text_is_printable() -> None:
    with pytest.raises(UsageProblem) as caught:
        parsed(TREND, {**TREND, "\x1b[2J": 1})
    assert str(caught.value).startswith("x.toml: claims[1]: unknown key '�[2J'")


def test_shipped_presets_ask_what_they_claim() -> None:
    for name in ("quickstart", "mnist-epochs"):
        claims = find_preset(name).claims
        assert [claim.measure for claim in claims][:2] == ["test_accuracy", "epoch_seconds"]


def test_claims_survive_the_journal_and_old_journals_are_read() -> None:
    preset = parsed(TREND, without(PAIR, left={"hidden": [4], "lr": 0.1}, right={"lr": 0.01}))
    opened = ev.SweepOpened(
        id="s",
        preset="p",
        title="t",
        question="",
        source="",
        configurations=preset.configurations,
        claims=preset.claims,
    )
    assert journal.decode(journal.encode(opened)) == opened
    written = msgspec.json.decode(journal.encode(opened))
    del written["claims"]
    old = journal.decode(msgspec.json.encode(written))
    assert isinstance(old, ev.SweepOpened)
    assert judge(SweepState().fold([old])) == []
    assert all(v.verdict == "undetermined" for v in judge(SweepState().fold([opened])))


# ---- like with like


def test_a_ladder_leaves_aside_what_differs_in_more() -> None:
    found = ladder("train.batch_size", parsed().configurations)
    assert [(level, [c.label for c in of]) for level, of in found.levels.items()] == [
        (64, ["64, lr 0.01"]),
        (1024, ["1024, lr 0.01"]),
    ]
    assert [each.label for each in found.aside] == ["1024, raised rate"]


def test_a_grid_of_two_keys_has_all_its_series() -> None:
    grid = {"batch_size": [64, 8], "lr": [0.1, 0.2]}
    found = ladder("train.batch_size", parsed(grid=grid, cells=[]).configurations)
    assert [(level, len(of)) for level, of in found.levels.items()] == [(8, 2), (64, 2)]
    assert found.aside == ()
