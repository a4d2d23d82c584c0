"""The difference between two sweeps, configuration by configuration: pure data.

B − A of the test accuracy at the end, with an interval over the seeds: seed by seed (paired t)
where a seed gives both the same initial weights and order of images, else Welch's t. What is judged
is adjusted for the number of configurations (Holm 1979). A difference between accuracies on other
test images is given and not judged. Times are ratios, with what stands against them.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from batchscope.engine.analysis.figures import pace_of, preferred
from batchscope.engine.analysis.matching import Differing, differing, match
from batchscope.engine.analysis.provenance import machine_of, same_images, same_start
from batchscope.engine.analysis.statistics import LEVEL, holm, interval, p_value
from batchscope.engine.analysis.tuning import choices
from batchscope.engine.comparison.caveats import remarks
from batchscope.engine.comparison.sources import Opened
from batchscope.engine.errors import UsageProblem
from batchscope.engine.findings.claim_verdicts import Method
from batchscope.engine.findings.comparison_sides import LOST, Side, difference, gather, share_seeds
from batchscope.engine.findings.configuration_summary import Mean, mean_over, stack_of
from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.metrics.target_reached import reached
from batchscope.engine.schedule.target import has_target, judged_by
from batchscope.engine.spec import Configuration, Settings

Word = Literal["higher", "lower", "undetermined", "not judged"]
ACCURACY = "test_accuracy"


class ComparedSweep(Struct, frozen=True, kw_only=True):
    """One of the two sweeps: `written` as a person named it, and how it stood."""

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
    """Something that differs, with what holds on each side; settings have a value or several."""

    key: str
    a: Any
    b: Any


class Accuracy(Struct, frozen=True, kw_only=True):
    """Test accuracies as fractions, and B − A with its interval of coverage 1 − `level`.

    `n` is the number of pairs, or of seeds of the smaller side. `p` is two-sided, and `adjusted`
    for the number of configurations; `verdict` goes by the latter.
    """

    a: Mean | None
    b: Mean | None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    level: float = LEVEL
    n: int = 0
    method: Method = ""
    p: float | None = None
    adjusted: float | None = None
    verdict: Word = "undetermined"


class Ratio(Struct, frozen=True):
    """A figure on both sides, and B ÷ A."""

    a: float | None
    b: float | None
    ratio: float | None


class Row(Struct, frozen=True, kw_only=True):
    """A configuration of A with the one of B that it matches.

    `changes` are the settings in which these two differ and not the whole sweeps. `stacked` are the
    replicates that share a time, `lost` the trials that diverged or failed, `missed` those that
    finished short of a target that both have. `steps_to_target` is None without one.
    """

    label: str
    batch_size: int
    a: str
    b: str
    changes: tuple[Change, ...]
    test_accuracy: Accuracy
    epoch_seconds: Ratio
    peak_memory_bytes: Ratio
    steps_to_target: Ratio | None
    stacked: tuple[int, int]
    lost: tuple[int, int]
    missed: tuple[int, int] = (0, 0)


class Comparison(Struct, frozen=True, kw_only=True):
    """All that can be said of two sweeps beside each other; `remarks` are what to beware of."""

    a: ComparedSweep
    b: ComparedSweep
    settings: tuple[Change, ...]
    versions: tuple[Change, ...]
    machine: tuple[Change, ...]
    rows: tuple[Row, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    remarks: tuple[str, ...]


def compare(a: Opened, b: Opened) -> Comparison:
    """B beside A.

    Raises:
        UsageProblem: they are the same sweep, or have no configuration in common.
    """
    if a.id == b.id:
        raise UsageProblem(f"compare: both are sweep {a.id}: nothing can be compared with itself")
    one, other = _standing(a.state), _standing(b.state)
    matched = match(one, other, _settled(a.state) | _settled(b.state))
    if not matched.pairs:
        raise UsageProblem(_nothing(one, other))
    kept_a, kept_b = [x for x, _ in matched.pairs], [y for _, y in matched.pairs]
    settings = differing(kept_a, kept_b)
    whole = {each.key for each in settings if len(each.a) == len(each.b) == 1}
    rows = [_row(a.state, b.state, x, y, whole) for x, y in matched.pairs]
    return Comparison(
        a=_source(a),
        b=_source(b),
        settings=tuple(map(_change, settings)) + _seeds(kept_a, kept_b),
        versions=_changes(a.versions, b.versions),
        machine=_changes(machine_of(a.state), machine_of(b.state)),
        rows=tuple(_judged(rows)),
        only_a=tuple(each.label for each in matched.only_a),
        only_b=tuple(each.label for each in matched.only_b),
        remarks=tuple(remarks(a, b, matched)),
    )


def _standing(state: SweepState) -> list[Configuration]:
    """What stands for a sweep: all but the candidates to which another was preferred."""
    return [state.configurations[name] for name in preferred(state)]


def _settled(state: SweepState) -> set[str]:
    """The keys that `[select]` has chosen a value of, in every group."""
    selection = state.opened.selection if state.opened else None
    if selection is None or any(choice.chosen is None for choice in choices(state)):
        return set()
    return set(selection.keys)


def _nothing(a: Sequence[Configuration], b: Sequence[Configuration]) -> str:
    sizes = [
        ", ".join(dict.fromkeys(str(each.settings.train.batch_size) for each in side))
        for side in (a, b)
    ]
    if set(sizes[0].split(", ")) & set(sizes[1].split(", ")):
        return (
            "compare: no configuration of A can be told to match one of B: for a batch size that "
            "both have there are several, and they share no value of what varies"
        )
    return f"compare: nothing in common: A has the batch sizes {sizes[0]}, B has {sizes[1]}"


def _source(of: Opened) -> ComparedSweep:
    state = of.state
    assert state.opened is not None
    return ComparedSweep(
        written=of.written,
        id=of.id,
        preset=state.opened.preset,
        title=state.opened.title,
        state=of.phase,
        trials=len(state.trials),
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


def _row(a: SweepState, b: SweepState, x: Configuration, y: Configuration, whole: set[str]) -> Row:
    left, right = a.replicates(x.id), b.replicates(y.id)
    steps, missed = _to_target(left, right)
    return Row(
        label=_label(x, y),
        batch_size=x.settings.train.batch_size,
        a=x.id,
        b=y.id,
        changes=tuple(_change(each) for each in differing([x], [y]) if each.key not in whole),
        test_accuracy=_accuracy(a, b, x, y),
        epoch_seconds=_ratio(pace_of(a, x.id)[0], pace_of(b, y.id)[0]),
        peak_memory_bytes=_ratio(_peak(left), _peak(right)),
        steps_to_target=steps,
        stacked=(stack_of(a, x.id), stack_of(b, y.id)),
        lost=(_lost(left), _lost(right)),
        missed=missed,
    )


def _label(x: Configuration, y: Configuration) -> str:
    """What both are called, else the shorter name: it holds less that only one of them varies."""
    if x.rivals and y.rivals == x.rivals:
        return x.rivals
    return min(x.rivals or x.label, y.rivals or y.label, key=len)


def _accuracy(a: SweepState, b: SweepState, x: Configuration, y: Configuration) -> Accuracy:
    left, right = gather(a, ACCURACY, [x]), gather(b, ACCURACY, [y])
    alike = same_images(a, b, x.settings, y.settings)
    if not alike or not same_start(a.replicates(x.id), b.replicates(y.id)):
        left = dataclasses.replace(left, start=frozenset({b"of its own"}))
    left, right = _in_common(left, right)
    word: Word = "undetermined" if alike else "not judged"
    base = Accuracy(a=_mean(left), b=_mean(right), verdict=word)
    if base.a is None or base.b is None:
        return base
    estimate = difference(right, left)
    if estimate is None:
        return replace(base, difference=base.b.mean - base.a.mean, n=min(base.a.n, base.b.n))
    low, high = interval(estimate)
    p = p_value(estimate)
    return replace(
        base,
        difference=estimate.effect,
        low=low,
        high=high,
        n=estimate.n,
        method="paired t" if share_seeds(left, right) else "Welch's t",
        p=(1.0 if p is None else p) if alike else None,
    )


def _in_common(left: Side, right: Side) -> tuple[Side, Side]:
    """Both sides over the seeds that pair them, where any do: the means are of the same ones."""
    shared = left.values.keys() & right.values.keys()
    if not share_seeds(left, right) or not shared:
        return left, right
    kept = [{s: v for s, v in side.values.items() if s in shared} for side in (left, right)]
    return dataclasses.replace(left, values=kept[0]), dataclasses.replace(right, values=kept[1])


def _mean(side: Side) -> Mean | None:
    return mean_over(list(side.values.values()), side.floor)


def _judged(rows: Sequence[Row]) -> list[Row]:
    """The verdicts of all configurations, adjusted for their number."""
    at = [index for index, row in enumerate(rows) if row.test_accuracy.p is not None]
    adjusted = holm([rows[index].test_accuracy.p or 0.0 for index in at])
    judged = list(rows)
    for index, p in zip(at, adjusted, strict=True):
        of = rows[index].test_accuracy
        word: Word = "undetermined"
        if p < LEVEL and of.difference:
            word = "higher" if of.difference > 0 else "lower"
        judged[index] = replace(rows[index], test_accuracy=replace(of, adjusted=p, verdict=word))
    return judged


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
    """Mean steps to a target that both sides have, where every finished trial reached it."""
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
    train = settings.train
    return train.target_accuracy, train.target_loss, judged_by(settings)
