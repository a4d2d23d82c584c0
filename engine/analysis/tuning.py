"""The candidates that `[select]` chooses: in each group of rivals the best one over the seeds.

The value of a candidate is the mean over its finished seeds of the validation accuracy or loss at
the end of the training, or of the steps to the target. There is one choice for a group, not one
for each seed. The test set has no part in it, but the seeds do: the one that is chosen was lucky
with them, so on these seeds its test figures are biased too. With `select.seeds_after` the chosen
candidate is trained again with fresh seeds, and only these judge it.

A group is open while any of its trials is. A candidate without a value for some seed (it diverged,
failed, was skipped, or missed the target) loses to every candidate with a value for all seeds;
among such candidates the one with fewer missing values wins. A tie goes to the smaller learning
rate, then to the first. Once fresh seeds are queued for a choice it stays, also if a trial of its
group is repeated and ends otherwise.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

from batchscope.engine.experiment.selection import confirming
from batchscope.engine.experiment.selectors import value_at
from batchscope.engine.journal import fresh_seeds
from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.metrics.registry import TRIAL, value_of
from batchscope.engine.metrics.task_metrics import task_better
from batchscope.engine.spec import Configuration, Selection

RATE = "train.lr"


class Candidate(Struct, frozen=True, kw_only=True):
    """One of several rivals: its selected settings, and its value over `n` of `seeds`."""

    configuration: str
    label: str
    settings: dict[str, Any]
    value: float | None
    n: int
    seeds: int


class TuningChoice(Struct, frozen=True, kw_only=True):
    """The choice in one group of rivals.

    Attributes:
        group: what the candidates have in common.
        by: the criterion.
        chosen: id of the chosen candidate; None while the group is `open`, or if no candidate has
            a value.
        value: its value.
        edge: for each key whether the best is the `lowest` or `highest` value tried: a better one
            may then be beyond it.
        open: whether trials that may still decide the choice have not ended.
        candidates: all candidates of the group.
        judged: id of the configuration whose seeds are judged: the one with the fresh seeds, or
            without these the chosen candidate; None while there is none.
        fresh_seeds: the number of seeds that are trained after the choice; 0 if the choice is
            judged on the seeds that made it.
        fresh_open: whether some of these are still to be trained.
    """

    group: str
    by: str
    chosen: str | None
    value: float | None
    edge: dict[str, str]
    open: bool
    candidates: tuple[Candidate, ...]
    judged: str | None = None
    fresh_seeds: int = 0
    fresh_open: bool = False


def in_order(state: SweepState) -> list[Configuration]:
    """Return the configurations in preset order, each with fresh seeds after its candidate."""
    every = state.configurations
    place = {name: index for index, name in enumerate(every)}
    return sorted(every.values(), key=lambda each: place.get(each.confirms, place[each.id]))


def choices(state: SweepState) -> list[TuningChoice]:
    """Return the choice in each group of rivals, in preset order; empty without `[select]`."""
    selection = state.opened.selection if state.opened else None
    if selection is None:
        return []
    fresh = fresh_seeds.confirmations(state)
    return [
        _choice(state, selection, name, group, fresh.get(name))
        for name, group in fresh_seeds.groups(state).items()
    ]


def to_confirm(state: SweepState) -> tuple[Configuration, ...]:
    """Return the configurations with fresh seeds that are to be added for choices made by now.

    It depends on the journal alone: a choice whose fresh seeds are in it has none to add.
    """
    selection = state.opened.selection if state.opened else None
    if selection is None or not selection.seeds_after:
        return ()
    fresh, every = fresh_seeds.confirmations(state), list(state.configurations.values())
    return tuple(
        confirming(state.configurations[choice.chosen], selection.seeds_after, every)
        for name, group in fresh_seeds.groups(state).items()
        if name not in fresh and not fresh_seeds.waits(state, group)
        if (choice := _choice(state, selection, name, group, None)).chosen is not None
    )


def chosen_configurations(state: SweepState) -> list[Configuration]:
    """Return the configurations that represent the sweep, in the order of the preset.

    Those are the judged one of each group of rivals (none while there is none) and all without
    rivals. Judged is the configuration with the fresh seeds, or without `seeds_after` the chosen
    candidate. Without `[select]` those are all configurations.
    """
    best = {choice.judged for choice in choices(state)}
    free = [each.id for each in state.configurations.values() if not each.rivals]
    kept = {*best, *(name for name in free if not state.configurations[name].confirms)}
    return [each for each in in_order(state) if each.id in kept]


def rejected(state: SweepState) -> frozenset[str]:
    """Return the ids of the rejected candidates; an open group has none yet."""
    return frozenset(
        candidate.configuration
        for choice in choices(state)
        for candidate in choice.candidates
        if choice.chosen not in (None, candidate.configuration)
    )


def same_seeds(choice: TuningChoice) -> bool:
    """Return whether a choice is judged on the seeds that it was made with."""
    several = len(choice.candidates) > 1
    return choice.chosen is not None and not choice.fresh_seeds and several


def _choice(
    state: SweepState,
    selection: Selection,
    name: str,
    group: Sequence[Configuration],
    fresh: Configuration | None,
) -> TuningChoice:
    """Return the choice in a group; `fresh` is the configuration that confirms it, if any."""
    candidates = tuple(_candidate(state, selection, each) for each in group)
    waiting = fresh is None and fresh_seeds.waits(state, group)
    best = None if waiting else _best(state, candidates, group, selection)
    if fresh:
        best = next(one for one in candidates if one.configuration == fresh.confirms)
    judged = best.configuration if best and not selection.seeds_after else None
    return TuningChoice(
        group=name,
        by=selection.by,
        chosen=best.configuration if best else None,
        value=best.value if best else None,
        edge=_edges(best, candidates) if best else {},
        open=waiting,
        candidates=candidates,
        judged=fresh.id if fresh else judged,
        fresh_seeds=len(fresh.seeds) if fresh else selection.seeds_after,
        fresh_open=best is not None
        and (fresh_seeds.waits(state, [fresh]) if fresh else selection.seeds_after > 0),
    )


def _candidate(state: SweepState, selection: Selection, of: Configuration) -> Candidate:
    trials = state.replicates(of.id)
    values = [
        value for trial in trials if (value := _value(state, trial, selection.by)) is not None
    ]
    return Candidate(
        configuration=of.id,
        label=of.label,
        settings={key: value_at(of, key) for key in selection.keys},
        value=math.fsum(values) / len(values) if values else None,
        n=len(values),
        seeds=len(trials),
    )


def _value(state: SweepState, trial: TrialState, by: str) -> float | None:
    """Return a trial's value of the selection criterion; None if it has none."""
    if trial.status != "finished" or trial.last is None:
        return None
    return value_of(state, trial, by)


def _best(
    state: SweepState,
    candidates: Iterable[Candidate],
    group: Sequence[Configuration],
    selection: Selection,
) -> Candidate | None:
    known = TRIAL.get(selection.by)
    better = known.better if known else task_better(state, selection.by)
    sign = -1.0 if better == "higher" else 1.0
    ranked = [
        ((one.seeds - one.n, sign * one.value, each.settings.train.lr), one)
        for one, each in zip(candidates, group, strict=True)
        if one.value is not None
    ]
    return min(ranked, key=lambda pair: pair[0])[1] if ranked else None


def _edges(best: Candidate, candidates: Iterable[Candidate]) -> dict[str, str]:
    edges = {}
    for key, value in best.settings.items():
        tried = {number for one in candidates if (number := _number(one.settings[key])) is not None}
        if len(tried) > 1 and value in (min(tried), max(tried)):
            edges[key] = "lowest" if value == min(tried) else "highest"
    return edges


def _number(value: object) -> float | None:
    """Return a number; None for a name, a list or a switch, which have no order."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
