"""Compares two sweeps, configuration by configuration, as pure data.

The metric by which both are told, such as the test accuracy, is compared as B − A with an interval
over the seeds (`metric_difference.py`). The p values are adjusted for the number of configurations
(Holm 1979). Times and memory are compared as ratios B ÷ A, with warnings.
"""

import math
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from batchscope.engine.analysis.figures import pace_of, preferred
from batchscope.engine.analysis.matching import Differing, differing, match
from batchscope.engine.analysis.provenance import machine_of
from batchscope.engine.analysis.tuning import choices
from batchscope.engine.comparison.caveats import remarks
from batchscope.engine.comparison.metric_difference import (
    MetricDifference,
    judged,
    metric_difference,
)
from batchscope.engine.comparison.sources import Opened
from batchscope.engine.errors import UsageProblem
from batchscope.engine.findings.comparison_sides import LOST
from batchscope.engine.findings.configuration_summary import stack_of
from batchscope.engine.journal.fresh_seeds import trials_to_come
from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.metrics.collapse import collapsed_seeds
from batchscope.engine.metrics.primary_metric import PrimaryMetric, primary_of
from batchscope.engine.metrics.target_reached import reached
from batchscope.engine.schedule.target import has_target, judged_by, stated
from batchscope.engine.spec import Configuration, Settings

ACCURACY = PrimaryMetric("accuracy")


class ComparedSweep(Struct, frozen=True, kw_only=True):
    """One of the two sweeps.

    Attributes:
        written: the name that the command line gave.
        id, preset, title: of the sweep.
        state: its state, now or when it was exported.
        trials, pending, lost: number of trials; of open ones; of diverged or failed ones.
        damaged_journal_lines: number of journal lines that were skipped.
        versions: of batchscope, torch and Python.
        machine: facts about the machine.
    """

    written: str
    id: str
    preset: str
    title: str
    state: str
    trials: int
    pending: int
    lost: int
    damaged_journal_lines: int
    versions: dict[str, str]
    machine: dict[str, Any]


class Change(Struct, frozen=True):
    """Something that differs between the sweeps; a setting has one value or several on a side."""

    key: str
    a: Any
    b: Any


class ComparedMetric(Struct, frozen=True):
    """The metric by which the two sweeps are compared.

    Attributes:
        measure: its name in claims and tables, such as `test_mae`.
        title: the same in words.
        unit: `%` for an accuracy, otherwise empty.
        better: `higher` or `lower`.
    """

    measure: str
    title: str
    unit: str
    better: str

    @property
    def is_accuracy(self) -> bool:
        """Whether it is an accuracy, which is shown in percent."""
        return self.unit == "%"


class Ratio(Struct, frozen=True):
    """A measure on both sides, and B ÷ A."""

    a: float | None
    b: float | None
    ratio: float | None


class Row(Struct, frozen=True, kw_only=True):
    """A configuration of A and the matching one of B.

    Attributes:
        label, batch_size: of the configuration.
        a, b: its id in each sweep.
        changes: settings in which these two differ, but not the sweeps as a whole.
        test_accuracy: the difference in test accuracy; of tasks without one, without values.
        epoch_seconds, peak_memory_bytes: seconds and bytes.
        steps_to_target: mean steps; None without a target that both sides have.
        stacked: number of replicates that share a time, in A and B.
        lost: number of trials that diverged or failed, in A and B.
        collapsed: seeds of the finished trials that collapsed, in A and B.
        missed: number of finished trials that did not reach the target, in A and B.
    """

    label: str
    batch_size: int
    a: str
    b: str
    changes: tuple[Change, ...]
    test_accuracy: MetricDifference
    epoch_seconds: Ratio
    peak_memory_bytes: Ratio
    steps_to_target: Ratio | None
    stacked: tuple[int, int]
    lost: tuple[int, int]
    missed: tuple[int, int] = (0, 0)
    collapsed: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    primary_metric: MetricDifference


class Comparison(Struct, frozen=True, kw_only=True):
    """The comparison of two sweeps.

    Attributes:
        a, b: the two sweeps.
        settings, versions, machine: what differs between them.
        rows: the configurations that match, smaller batch sizes first.
        only_a, only_b: labels of configurations without a match.
        remarks: warnings.
        primary_metric: the metric by which they are compared.
    """

    a: ComparedSweep
    b: ComparedSweep
    settings: tuple[Change, ...]
    versions: tuple[Change, ...]
    machine: tuple[Change, ...]
    rows: tuple[Row, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    remarks: tuple[str, ...]
    primary_metric: ComparedMetric


def compare(a: Opened, b: Opened) -> Comparison:
    """Compare sweep B with sweep A.

    Raises:
        UsageProblem: they are the same sweep, or have no configuration in common.
    """
    if a.id == b.id:
        raise UsageProblem(f"compare: both names are sweep {a.id}; name two sweeps")
    one, other = _standing(a.state), _standing(b.state)
    matched = match(one, other, _settled(a.state) | _settled(b.state))
    if not matched.pairs:
        raise UsageProblem(_nothing(one, other))
    kept_a, kept_b = [x for x, _ in matched.pairs], [y for _, y in matched.pairs]
    settings = differing(kept_a, kept_b)
    whole = {each.key for each in settings if len(each.a) == len(each.b) == 1}
    metric = primary_of(each.settings.task for each in (*kept_a, *kept_b))
    pairs = [(a.state, b.state, x, y) for x, y in matched.pairs]
    accuracies = judged([metric_difference(*pair, ACCURACY) for pair in pairs])
    primary = accuracies
    if metric != ACCURACY:
        primary = judged([metric_difference(*pair, metric) for pair in pairs])
    return Comparison(
        a=_source(a),
        b=_source(b),
        settings=tuple(map(_change, settings)) + _seeds(kept_a, kept_b),
        versions=_changes(a.versions, b.versions),
        machine=_changes(machine_of(a.state), machine_of(b.state)),
        rows=tuple(
            _row(*pair, whole, accuracy, of)
            for pair, accuracy, of in zip(pairs, accuracies, primary, strict=True)
        ),
        only_a=tuple(each.label for each in matched.only_a),
        only_b=tuple(each.label for each in matched.only_b),
        remarks=tuple(remarks(a, b, matched, metric)),
        primary_metric=ComparedMetric(metric.measure, metric.title, metric.unit, metric.better),
    )


def _standing(state: SweepState) -> list[Configuration]:
    """Return all configurations except the candidates that `[select]` did not choose."""
    return [state.configurations[name] for name in preferred(state)]


def _settled(state: SweepState) -> set[str]:
    """Return the keys of `[select]`, if every group of candidates has its choice."""
    selection = state.opened.selection if state.opened else None
    if selection is None or any(choice.judged is None for choice in choices(state)):
        return set()
    return set(selection.keys)


def _nothing(a: Sequence[Configuration], b: Sequence[Configuration]) -> str:
    sizes = [
        ", ".join(dict.fromkeys(str(each.settings.train.batch_size) for each in side))
        for side in (a, b)
    ]
    if set(sizes[0].split(", ")) & set(sizes[1].split(", ")):
        return (
            "compare: no configuration of A matches one of B: both have several of the same batch "
            "size, and share no value of a setting that varies"
        )
    return f"compare: no batch size in common: A has {sizes[0]}; B has {sizes[1]}"


def _source(of: Opened) -> ComparedSweep:
    state = of.state
    assert state.opened is not None
    return ComparedSweep(
        written=of.written,
        id=of.id,
        preset=state.opened.preset,
        title=state.opened.title,
        state=of.phase,
        trials=len(state.trials) + trials_to_come(state),
        pending=of.pending,
        lost=state.count(*LOST),
        damaged_journal_lines=of.damaged,
        versions=of.versions,
        machine=machine_of(state),
    )


def _changes(a: dict[str, Any], b: dict[str, Any]) -> tuple[Change, ...]:
    keys = dict.fromkeys((*a, *b))
    return tuple(Change(key, a.get(key), b.get(key)) for key in keys if a.get(key) != b.get(key))


def _change(of: Differing) -> Change:
    one, other = (values[0] if len(values) == 1 else list(values) for values in (of.a, of.b))
    return Change(of.key, one, other)


def _seeds(a: Sequence[Configuration], b: Sequence[Configuration]) -> tuple[Change, ...]:
    one, other = (max(len(each.seeds) for each in side) for side in (a, b))
    return (Change("seeds", one, other),) if one != other else ()


def _row(
    a: SweepState,
    b: SweepState,
    x: Configuration,
    y: Configuration,
    whole: set[str],
    accuracy: MetricDifference,
    primary: MetricDifference,
) -> Row:
    left, right = a.replicates(x.id), b.replicates(y.id)
    steps, missed = _to_target(left, right)
    return Row(
        label=_label(x, y),
        batch_size=x.settings.train.batch_size,
        a=x.id,
        b=y.id,
        changes=tuple(_change(each) for each in differing([x], [y]) if each.key not in whole),
        test_accuracy=accuracy,
        epoch_seconds=_ratio(pace_of(a, x.id)[0], pace_of(b, y.id)[0]),
        peak_memory_bytes=_ratio(_peak(left), _peak(right)),
        steps_to_target=steps,
        stacked=(stack_of(a, x.id), stack_of(b, y.id)),
        lost=(_lost(left), _lost(right)),
        missed=missed,
        collapsed=(collapsed_seeds(left), collapsed_seeds(right)),
        primary_metric=primary,
    )


def _label(x: Configuration, y: Configuration) -> str:
    """Return the name that both share, else the shorter one: it names fewer settings."""
    if x.rivals and y.rivals == x.rivals:
        return x.rivals
    return min(x.rivals or x.label, y.rivals or y.label, key=len)


def _ratio(a: float | None, b: float | None) -> Ratio:
    return Ratio(a, b, b / a if a and b is not None else None)


def _peak(trials: Sequence[TrialState]) -> float | None:
    from batchscope.engine.metrics.epoch_arrays import highest

    peaks = [highest(trial.records, "peak_memory_bytes") for trial in trials]
    return max((peak for peak in peaks if peak is not None), default=None)


def _lost(trials: Sequence[TrialState]) -> int:
    return sum(trial.status in LOST for trial in trials)


def _to_target(
    left: Sequence[TrialState], right: Sequence[TrialState]
) -> tuple[Ratio | None, tuple[int, int]]:
    """Compare the mean steps to a target that both sides have and every trial reached.

    Returns:
        The ratio, and how many finished trials of A and B missed the target.
    """
    one, other = left[0].settings, right[0].settings
    if not has_target(one.train) or _target(one) != _target(other):
        return None, (0, 0)
    means, missed = [], []
    for trials in (left, right):
        finished = [trial for trial in trials if trial.status == "finished"]
        steps = [totals.steps for trial in finished if (totals := reached(trial))]
        missed.append(len(finished) - len(steps))
        complete = steps and not missed[-1] and not _lost(trials)
        means.append(math.fsum(steps) / len(steps) if complete else None)
    return _ratio(means[0], means[1]), (missed[0], missed[1])


def _target(settings: Settings) -> tuple[object, ...]:
    return stated(settings.train), judged_by(settings)
