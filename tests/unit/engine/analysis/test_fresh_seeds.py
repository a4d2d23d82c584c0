"""`select.seeds_after`: a chosen candidate is trained again with fresh seeds, which judge it."""

from statistics import fmean
from typing import Any

import msgspec
import pytest

from batchscope.engine.analysis.completeness import complete
from batchscope.engine.analysis.figures import by_batch_size, preferred
from batchscope.engine.analysis.tables import trial_rows
from batchscope.engine.analysis.time_estimate import remaining
from batchscope.engine.analysis.tuning import (
    choices,
    chosen_configurations,
    rejected,
    to_confirm,
)
from batchscope.engine.findings.claim_verdicts import judge
from batchscope.engine.findings.configuration_summary import bars, figures
from batchscope.engine.findings.findings import document, find
from batchscope.engine.findings.recommendation import recommendation
from batchscope.engine.findings.selection_text import choice_text
from batchscope.engine.journal import events as ev
from batchscope.engine.journal.fresh_seeds import trials_to_come
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.spec import Claim
from tests.unit.engine.findings_fixtures import record, started
from tests.unit.engine.tuning_fixtures import Value, confirm, train_all, tuned

FOUND: dict[tuple[int, float], list[Value]] = {
    (8, 0.01): [0.5, 0.5], (8, 0.1): [0.7, 0.7],
    (64, 0.1): [0.4, 0.4], (64, 1.0): [0.6, 0.6],
}  # fmt: skip
FRESH = ["b8-chosen", "b64-chosen"]
LESS = Claim(
    statement="s",
    measure="test_accuracy",
    left={"train.batch_size": 64},
    relation="less",
    right={"train.batch_size": 8},
)


def sweep(*claims: Claim, found: Any = FOUND, after: int = 3) -> SweepState:
    return tuned(found, *claims, after=after, test={(8, 0.1): 0.99, (64, 1.0): 0.1})


def ids(state: SweepState) -> list[str]:
    return [each.id for each in to_confirm(state)]


def test_what_is_added_is_the_chosen_candidate_with_the_next_seeds() -> None:
    state = sweep()
    first, second = to_confirm(state)
    chosen = state.configurations["b8-lr0.1"]
    assert (first.id, first.label, first.confirms, first.rivals) == (
        "b8-chosen",
        "8",
        chosen.id,
        "",
    )
    assert first.seeds == (2, 3, 4)
    assert first.settings == chosen.settings
    assert (second.id, second.confirms) == ("b64-chosen", "b64-lr1")


def test_a_group_is_confirmed_as_soon_as_its_own_trials_have_ended() -> None:
    state = sweep(found={**FOUND, (8, 0.1): [0.7, "running"]})
    assert ids(state) == ["b64-chosen"]
    assert trials_to_come(state) == 3, "those of the other group will be added now"
    state.apply(ev.TrialEnded(trial="b8-lr0.1-s1", attempt=1, status="failed"))
    assert ids(state) == FRESH


def test_it_is_added_once() -> None:
    state = sweep()
    event = ev.ConfigurationsAdded(configurations=to_confirm(state))
    state.fold([event, event])
    assert ids(state) == []
    assert [trial.id for trial in state.trials.values() if trial.seed > 1] == [
        f"{name}-s{seed}" for name in FRESH for seed in (2, 3, 4)
    ]
    assert len(state.trials) == 8 + 6


def test_without_seeds_after_and_without_a_choice_nothing_is_added() -> None:
    assert to_confirm(sweep(after=0)) == ()
    lost: dict[tuple[int, float], list[Value]] = {(8, 0.1): ["diverged"], (8, 1.0): ["diverged"]}
    state = tuned(lost, after=3)
    assert to_confirm(state) == ()
    assert trials_to_come(state) == 0
    assert complete(state)


def test_a_group_that_failed_gets_its_fresh_seeds_once_a_repeated_trial_has_a_value() -> None:
    state = tuned({(8, 0.1): ["failed"], (8, 1.0): ["diverged"]}, after=3)
    assert to_confirm(state) == ()
    state.apply(ev.TrialRetried(trial="b8-lr0.1-s0", attempt=1))
    assert trials_to_come(state) == 3
    of = state.configurations["b8-lr0.1"]
    one = record(0.5, validation_accuracy=0.5, validation_loss=0.5)
    state.apply(msgspec.structs.replace(started("b8-lr0.1-s0", of), attempt=2))
    state.apply(ev.EpochsFinished(trial="b8-lr0.1-s0", attempt=2, records=(one,)))
    state.apply(ev.TrialEnded(trial="b8-lr0.1-s0", attempt=2, status="finished"))
    assert ids(state) == ["b8-chosen"]


def test_the_trials_to_come_are_counted_and_timed_until_they_are_there() -> None:
    state = sweep(found={**FOUND, (8, 0.1): ["queued", "queued"], (64, 1.0): ["queued", "queued"]})
    assert trials_to_come(state) == 6
    left, alone = remaining(state, 0.0), remaining(
        sweep(found={**FOUND, (8, 0.1): ["queued"] * 2, (64, 1.0): ["queued"] * 2}, after=0), 0.0
    )  # fmt: skip
    assert left is not None
    assert alone is not None
    assert left.seconds > alone.seconds
    state = sweep()
    assert not complete(state), "resuming it adds the fresh seeds"
    confirm(state, [0.7] * 3, [0.6] * 3)
    assert trials_to_come(state) == 0
    assert complete(state)


def test_names_are_those_of_the_group_and_distinct() -> None:
    state = tuned({(8, 0.1): [0.5], (8, 0.2): [0.6], (64, 0.1): [0.5], (64, 0.2): [0.4]}, after=2)
    for name, each in list(state.configurations.items()):
        group = "Größe 8" if name.startswith("b8") else "8"
        label = "8" if name == "b8-lr0.1" else each.label
        state.configurations[name] = msgspec.structs.replace(each, rivals=group, label=label)
    first, second = to_confirm(state)
    assert (first.id, first.label) == ("gr-e-8-chosen", "Größe 8")
    assert (second.id, second.label) == ("b8-chosen", "8, chosen"), "8 is a candidate's label"


def test_a_choice_with_fresh_seeds_stays_when_a_trial_is_repeated() -> None:
    state = sweep(found={**FOUND, (8, 0.01): [0.5, "failed"]})
    confirm(state, [0.7] * 3, [0.6] * 3)
    before = choices(state)[0]
    state.apply(ev.TrialRetried(trial="b8-lr0.01-s1", attempt=1))
    assert (choices(state)[0].chosen, choices(state)[0].open) == ("b8-lr0.1", False)
    assert ids(state) == []
    state.apply(ev.TrialEnded(trial="b8-lr0.01-s1", attempt=2, status="finished"))
    assert choices(state)[0].judged == before.judged == "b8-chosen"
    assert ids(state) == []


def test_a_retry_before_the_choice_is_waited_for() -> None:
    state = sweep(found={**FOUND, (8, 0.01): [0.5, "failed"]})
    state.apply(ev.TrialRetried(trial="b8-lr0.01-s1", attempt=1))
    assert ids(state) == ["b64-chosen"]


@pytest.mark.parametrize(
    ("ends", "word"), [(["queued"] * 3, "to be trained"), ([0.7] * 3, "judged on 3 fresh seeds")]
)
def test_the_choice_says_which_seeds_judge_it(ends: list[Value], word: str) -> None:
    state = sweep()
    assert "3 fresh seeds still to be trained" in choice_text(choices(state)[0])
    confirm(state, ends, [0.6] * 3)
    choice = choices(state)[0]
    assert (choice.chosen, choice.judged, choice.fresh_seeds) == ("b8-lr0.1", "b8-chosen", 3)
    assert choice.fresh_open == (ends[0] == "queued")
    assert word in choice_text(choice)
    assert "flatters" not in choice_text(choice)
    told = document(state)["choices"][0]
    assert (told["judged"], told["fresh_seeds"]) == ("b8-chosen", 3)


def test_without_fresh_seeds_the_choice_says_that_it_is_flattered() -> None:
    (choice, _) = choices(sweep(after=0))
    assert choice.judged == choice.chosen
    assert "same seeds" in choice_text(choice)
    assert "select.seeds_after" in choice_text(choice)
    (only,) = choices(tuned({(8, 0.1): [0.5]}))
    assert "same seeds" not in choice_text(only), "there was nothing to choose among"


def test_the_fresh_seeds_stand_for_the_choice() -> None:
    """The seeds of the choice had test accuracies of 0.99 and 0.1, the fresh ones 0.5."""
    state = sweep(LESS)
    confirm(state, [0.7] * 3, [0.6] * 3)
    assert [each.id for each in chosen_configurations(state)] == FRESH
    assert preferred(state) == FRESH
    assert rejected(state) == {"b8-lr0.01", "b64-lr0.1"}
    assert by_batch_size(state) == [
        "b8-lr0.01", "b8-lr0.1", "b8-chosen", "b64-lr0.1", "b64-lr1", "b64-chosen"
    ]  # fmt: skip
    assert [each.configuration for each in figures(state)] == FRESH
    means = {name: mean.mean for name, mean in bars(state, "test_accuracy").items()}
    assert means == {name: pytest.approx(fmean([0.502, 0.503, 0.504])) for name in FRESH}
    (verdict,) = judge(state)
    assert verdict.n == 3
    assert verdict.effect == pytest.approx(0.0)
    assert not verdict.provisional
    assert "50.30 %" in recommendation(state)
    rows = {row["trial"]: row["selected"] for row in trial_rows(state)}
    assert [rows[name] for name in ("b8-lr0.01-s0", "b8-lr0.1-s0", "b8-chosen-s2")] == [
        False, True, True
    ]  # fmt: skip


def test_verdicts_wait_for_the_fresh_seeds() -> None:
    state = sweep(LESS)
    (verdict,) = judge(state)
    assert verdict.verdict == "undetermined"
    assert "fresh seeds" in verdict.reason
    confirm(state, [0.7] * 3, [0.6, 0.6, "queued"])
    (verdict,) = judge(state)
    assert (verdict.provisional, verdict.n) == (True, 2)


@pytest.mark.parametrize(
    "asked",
    [
        {"left": {"train.lr": 0.1, "train.batch_size": 8}, "relation": "greater", "value": 0.5},
        {"left": {"label": "8, lr 0.1"}, "relation": "greater", "value": 0.5},
    ],
)
def test_a_claim_that_names_a_candidate_reaches_the_seeds_of_the_choice(asked: Any) -> None:
    state = sweep(Claim(statement="s", measure="test_accuracy", **asked))
    confirm(state, [0.7] * 3, [0.6] * 3)
    (verdict,) = judge(state)
    assert verdict.n == 2
    assert verdict.effect == pytest.approx(0.49 + 0.0005)


def test_a_trend_over_what_is_selected_compares_the_candidates() -> None:
    claim = Claim(statement="s", measure="test_accuracy", trend="increasing", over="train.lr")
    values: dict[tuple[int, float], list[Value]] = {
        (8, rate): [0.5, 0.5 + rate] for rate in (0.01, 0.1)
    }
    state = tuned(values, claim, after=3, test={(8, 0.01): 0.3, (8, 0.1): 0.4})
    confirm(state, [0.7] * 3)
    (verdict,) = judge(state)
    assert verdict.n == 2
    assert verdict.effect == pytest.approx(0.1)


SIZES = (8, 32, 128, 512)


def to_target(after: int) -> SweepState:
    """Steps of the chosen rate: 90, 92 where it was chosen, 94, 96, 98 afterwards."""
    rates: dict[float, list[Value]] = {0.1: [0.9, 0.92], 1.0: [0.95, 0.97]}
    found = {(size, rate): values for size in SIZES for rate, values in rates.items()}
    return tuned(found, by="steps_to_target", target_accuracy=0.4, after=after)


def test_the_critical_batch_size_is_fitted_to_the_fresh_seeds() -> None:
    same = find(to_target(0)).critical_batch_size
    assert same is not None
    assert [each.steps for each in same.sizes] == [91.0] * 4
    assert any("select.seeds_after" in remark for remark in same.remarks)
    state = to_target(3)
    early = find(state).critical_batch_size
    assert early is not None
    assert early.provisional
    assert {each.reason for each in early.left_out} == {"its fresh seeds are not trained yet"}
    confirm(state, *[[0.94, 0.96, 0.98]] * 4)
    fresh = find(state).critical_batch_size
    assert fresh is not None
    assert [each.steps for each in fresh.sizes] == [96.0] * 4
    assert [each.configuration for each in fresh.sizes] == [f"b{size}-chosen" for size in SIZES]
    assert fresh.n == 3
    assert any("3 fresh seeds" in remark for remark in fresh.remarks)
    assert not any("flatter" in remark or "fewer" in remark for remark in fresh.remarks)


def test_an_open_seed_leaves_its_batch_size_out() -> None:
    state = to_target(3)
    confirm(state, *[[0.94, 0.96, 0.98]] * 3, [0.94, 0.96, "running"])
    found = find(state).critical_batch_size
    assert found is not None
    assert found.provisional
    assert [each.batch_size for each in found.left_out] == [512]


def test_the_journal_before_fresh_seeds_opens_as_before() -> None:
    """An old selection has no `seeds_after`, and an old configuration confirms nothing."""
    state = sweep(after=0)
    assert state.opened is not None
    told = msgspec.json.encode(state.opened).replace(b',"seeds_after":0', b"")
    told = told.replace(b',"confirms":""', b"")
    old = msgspec.json.decode(told, type=ev.SweepOpened)
    assert old == state.opened
    again = SweepState()
    again.apply(old)
    for name, values in FOUND.items():
        train_all(again, again.configurations[f"b{name[0]}-lr{name[1]:g}"], values)
    assert [choice.judged for choice in choices(again)] == ["b8-lr0.1", "b64-lr1"]
