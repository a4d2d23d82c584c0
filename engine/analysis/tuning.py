"""The candidates that `[select]` chooses: in each group of rivals the best one over the seeds.

The value of a candidate is the mean over its finished seeds of the validation accuracy or loss at
the end of the training, or of the steps to the target. There is one choice for a group, not one
for each seed, and the test set has no part in it, so the choice does not bias the test figures.

A group is open while any of its trials is. A candidate without a value for some seed (it diverged,
failed, was skipped, or missed the target) loses to every candidate with a value for all seeds;
among such candidates the one with fewer missing values wins. A tie goes to the smaller learning
rate, then to the first.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

from batchscope.engine.experiment.selectors import value_at
from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.metrics.registry import TRIAL
from batchscope.engine.spec import Configuration, Selection

OPEN = ("queued", "running", "stopped")
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

    `chosen` is the id of a configuration, None while the group is `open` or if no candidate has a
    value. `edge` says for each key if the best is the `lowest` or `highest` value tried: a better
    one may then be beyond it.
    """

    group: str
    by: str
    chosen: str | None
    value: float | None
    edge: dict[str, str]
    open: bool
    candidates: tuple[Candidate, ...]


def choices(state: SweepState) -> list[TuningChoice]:
    """Return the choice in each group of rivals, in preset order; empty without `[select]`."""
    selection = state.opened.selection if state.opened else None
    if selection is None:
        return []
    groups: dict[str, list[Configuration]] = {}
    for configuration in state.configurations.values():
        if configuration.rivals:
            groups.setdefault(configuration.rivals, []).append(configuration)
    return [_choice(state, selection, name, group) for name, group in groups.items()]


def chosen_configurations(state: SweepState) -> list[Configuration]:
    """Return the configurations that represent the sweep, in the order of the preset.

    Those are the chosen one of each group of rivals (none while none is chosen) and all without
    rivals. Without `[select]` those are all configurations.
    """
    best = {choice.chosen for choice in choices(state)}
    return [each for each in state.configurations.values() if not each.rivals or each.id in best]


def rejected(state: SweepState) -> frozenset[str]:
    """Return the ids of the rejected candidates; an open group has none yet."""
    return frozenset(
        candidate.configuration
        for choice in choices(state)
        for candidate in choice.candidates
        if choice.chosen not in (None, candidate.configuration)
    )


def _choice(
    state: SweepState, selection: Selection, name: str, group: Sequence[Configuration]
) -> TuningChoice:
    candidates = tuple(_candidate(state, selection, each) for each in group)
    waiting = any(t.status in OPEN for each in group for t in state.replicates(each.id))
    best = None if waiting else _best(candidates, group, selection)
    return TuningChoice(
        group=name,
        by=selection.by,
        chosen=best.configuration if best else None,
        value=best.value if best else None,
        edge=_edges(best, candidates) if best else {},
        open=waiting,
        candidates=candidates,
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
    value = TRIAL[by].read(state, trial)
    return float(value) if isinstance(value, int | float) else None


def _best(
    candidates: Iterable[Candidate], group: Sequence[Configuration], selection: Selection
) -> Candidate | None:
    sign = -1.0 if TRIAL[selection.by].better == "higher" else 1.0
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
