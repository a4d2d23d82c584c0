"""Recommends a batch size in one sentence, or says that there is no clear winner.

A configuration is recommended if its test accuracy is shown to be at most a margin
(`judging.within`) below that of every other one: a non-inferiority test against each of them. All
of these must hold, so a configuration needs no adjustment for their number (intersection-union
test, Berger 1982). Several configurations are tested in this way, and one of them is always the
best, so their p values are adjusted by Holm's procedure for one fewer than there are (Shaffer
1986). Then a configuration that is worse than another by more than the margin is recommended with a
probability of at most 0.05. Of several that hold, the one with the shortest mean training time is
recommended, which is not tested; without times that can be compared, the most accurate.

A task without an accuracy is judged by its own metric, or by its loss. What a margin in their unit
would mean is not known, so it is `judging.within` of the best mean, whose own error is not counted.

A configuration with a trial that diverged or failed is left out: a mean over the surviving seeds
would flatter it, and a reader who follows the advice may get another seed. Two seeds are too few
for advice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from batchscope.engine.analysis.comparable import incomparable
from batchscope.engine.analysis.no_results import no_results
from batchscope.engine.analysis.noise_scales import NoiseFinding
from batchscope.engine.analysis.stack_times import TIMED_AS
from batchscope.engine.analysis.statistics import LEVEL, below_p, interval, of_mean
from batchscope.engine.analysis.tuning import choices, chosen_configurations
from batchscope.engine.findings.comparison_sides import (
    OPEN,
    Side,
    difference,
    gather,
    named,
    quoted,
)
from batchscope.engine.findings.configuration_summary import mean_of, stack_of
from batchscope.engine.findings.critical_batch_size import Critical
from batchscope.engine.findings.critical_batch_text import (
    critical_sentence,
    meaning,
    noise_sentence,
)
from batchscope.engine.formatting import significant
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.primary_metric import PrimaryMetric, primary_metric
from batchscope.engine.metrics.reached_rate import short_of_all
from batchscope.engine.schedule.target import has_target
from batchscope.engine.spec import Configuration, Judging, Train

TIME = "training_seconds"
NAMED = 6
FOR_ADVICE = 3
"""The least number of seeds for advice."""
UNDETERMINED = "No clear winner"


@dataclass(frozen=True, slots=True)
class Recommended:
    """A recommendation as a sentence, with the configuration that it names.

    Without a clear winner it names none.
    """

    sentence: str
    configuration: Configuration | None = None


@dataclass(frozen=True, slots=True)
class _Candidate:
    configuration: Configuration
    side: Side

    @property
    def mean(self) -> float:
        return sum(self.side.values.values()) / len(self.side.values)

    @property
    def name(self) -> str:
        """The label in a sentence: in quotes, or "batch size 64" if it is a number."""
        return named(self.configuration.label)


def recommendation(state: SweepState) -> str:
    """Return the recommendation as a sentence, with "So far" while trials are open."""
    return recommended(state).sentence


def recommended(state: SweepState) -> Recommended:
    """Return the recommendation with the configuration that it names."""
    outcome = _outcome(state)
    if all(trial.status not in OPEN for trial in state.trials.values()):
        return outcome
    sentence = outcome.sentence
    joint = ", " if sentence.startswith(UNDETERMINED) else ": "
    return replace(outcome, sentence=f"So far{joint}{sentence[0].lower()}{sentence[1:]}")


def _outcome(state: SweepState) -> Recommended:
    nothing = no_results(state)
    if nothing:
        return Recommended(f"{nothing.text}.")
    why_not = incomparable(state)
    if why_not:
        return Recommended(f"{UNDETERMINED}: {why_not}.")
    metric = primary_metric(state)
    sides = _sides(state, metric)
    out = [each for each in sides if each.side.lost]
    outcome = _advice(state, metric, sides, bool(out))
    parts = [outcome.sentence, *_left_out(state, out), *_too_few(sides), *_undecided(state)]
    return replace(outcome, sentence="; ".join(parts) + ".")


def _advice(
    state: SweepState, metric: PrimaryMetric, sides: list[_Candidate], fewer: bool
) -> Recommended:
    """Compare every candidate with all others.

    Args:
        state: the sweep.
        metric: what is compared.
        sides: the candidates, smaller batch sizes first.
        fewer: whether some of them are left out because they lost trials.
    """
    known = [each for each in sides if len(each.side.values) >= FOR_ADVICE and not each.side.lost]
    if not known:
        which = "other configuration" if fewer else "configuration"
        return Recommended(f"{UNDETERMINED}: no {which} has {FOR_ADVICE} finished seeds")
    if len(known) == 1:
        alone = "remains" if fewer else f"has {FOR_ADVICE} finished seeds"
        return Recommended(f"{UNDETERMINED}: only {known[0].name} {alone}")
    within = state.opened.judging.within if state.opened else Judging().within
    lower = metric.better == "lower"
    margin = within
    if not metric.is_accuracy:
        means = [each.mean for each in known]
        margin *= abs(min(means) if lower else max(means))
    good = non_inferior([each.side for each in known], margin, lower=lower)
    chosen = [each for each, holds in zip(known, good, strict=True) if holds]
    if not chosen:
        return Recommended(f"{UNDETERMINED}: {_not_shown(known, metric, within)}")
    best, why = _preferred(state, metric, chosen)
    better = f" ({metric.direction})" if metric.direction else ""
    return Recommended(
        f"Use {best.name}: its {metric.title}, {_value(metric, best)}{better}, is shown to be "
        f"within {_margin(metric, within)} of the best{why}. "
        f"{_time(state, best)}{_cut_short(metric, best)}",
        best.configuration,
    )


def non_inferior(
    sides: Sequence[Side], margin: float, level: float = LEVEL, lower: bool = False
) -> list[bool]:
    """Return for each side whether its mean is shown to be at most `margin` worse than all others.

    The probability of any false True is at most `level`.

    Args:
        sides: two sides or more.
        margin: in the unit of the measure.
        level: one-sided level.
        lower: whether smaller values are better.
    """
    ps = [
        max(_inferiority_p(one, other, margin, lower) for other in sides if other is not one)
        for one in sides
    ]
    holds, left = [False] * len(sides), max(1, len(sides) - 1)
    for rank, at in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        if ps[at] >= level / max(1, min(left, len(sides) - rank)):
            break
        holds[at] = True
    return holds


def _inferiority_p(one: Side, other: Side, margin: float, lower: bool) -> float:
    """Return the p value of `one` being worse than `other` by `margin` or more."""
    estimate = difference(other, one) if lower else difference(one, other)
    return 1.0 if estimate is None else below_p(estimate, margin)


def _preferred(
    state: SweepState, metric: PrimaryMetric, chosen: list[_Candidate]
) -> tuple[_Candidate, str]:
    """Return one of the candidates that may be recommended, and why it is this one."""
    if len(chosen) == 1:
        return chosen[0], ""
    lower = metric.better == "lower"
    best = (min if lower else max)(chosen, key=lambda each: each.mean)
    extreme = f"the {'lowest' if lower else 'highest'} mean"
    of_those = f", and of those that are ({_names(chosen)}) it has"
    if any(_for_seconds(each.configuration.settings.train) for each in chosen):
        return best, f"{of_those} {extreme}"
    sizes = sorted({stack_of(state, each.configuration.id) for each in chosen})
    if len(sizes) > 1:
        why = f"times cannot be compared: {_unlike(sizes)}"
        return best, f"{of_those} {extreme} ({why})"
    fastest = min(chosen, key=lambda each: _seconds(state, each))
    return fastest, f"{of_those} the shortest mean training time"


def _not_shown(known: list[_Candidate], metric: PrimaryMetric, within: float) -> str:
    """Return a sentence: no configuration is shown to be within the margin of the best."""
    means = sorted(candidate.mean for candidate in known)
    which = "neither configuration" if len(known) == 2 else f"none of {len(known)} configurations"
    ends = f"{means[0] * 100:.2f} to {means[-1] * 100:.2f} %"
    if not metric.is_accuracy:
        ends = f"{significant(means[0])} to {significant(means[-1])}, {metric.direction}"
    return (
        f"{which} is shown to be within {_margin(metric, within)} of the best {metric.title} "
        f"(means {ends}, {_seeds(known)} seeds)"
    )


def _margin(metric: PrimaryMetric, within: float) -> str:
    """Return the margin in words: in points of an accuracy, or in percent of the best mean."""
    points = f"{within * 100:g}"
    return f"{points} point{'s' * (points != '1')}" if metric.is_accuracy else f"{points} %"


def _unlike(sizes: list[int]) -> str:
    """Return a sentence on why times of stacks of these sizes are not compared."""
    *others, last = ["alone" if size == 1 else f"in stacks of {size}" for size in sizes]
    return f"replicates trained {', '.join(others)} and {last}"


def _cut_short(metric: PrimaryMetric, candidate: _Candidate) -> str:
    """Return that a training with a target does not go on to a better metric; else empty."""
    if not has_target(candidate.configuration.settings.train):
        return ""
    return f". A training ends when it reaches its target, which limits its {metric.word}"


def _for_seconds(train: Train) -> bool:
    return train.seconds is not None and not has_target(train)


def _sides(state: SweepState, metric: PrimaryMetric) -> list[_Candidate]:
    """Return the configurations that represent the sweep, smaller batch sizes first."""
    by_size = sorted(chosen_configurations(state), key=lambda each: each.settings.train.batch_size)
    return [_Candidate(each, gather(state, metric.measure, [each])) for each in by_size]


def _left_out(state: SweepState, out: list[_Candidate]) -> list[str]:
    """Return sentences on which configurations lost trials, and how many; empty if none did."""
    if not out:
        return []
    lost = sum(len(each.side.lost) for each in out)
    trials = sum(len(state.replicates(each.configuration.id)) for each in out)
    one = len(out) == 1
    its = "its" if one else "their"
    which = (
        f"all {trials} of {its} trials" if lost == trials else f"{lost} of {its} {trials} trials"
    )
    return [f"{_names(out)} {'is' if one else 'are'} left out: {which} diverged or failed"]


def _too_few(sides: list[_Candidate]) -> list[str]:
    """Return which configurations two or more others are compared without, for lack of seeds."""
    whole = [each for each in sides if not each.side.lost]
    few = [each for each in whole if len(each.side.values) < FOR_ADVICE]
    if not few or len(whole) - len(few) < 2:
        return []
    have = "is left out: it has" if len(few) == 1 else "are left out: they have"
    return [f"{_names(few)} {have} fewer than {FOR_ADVICE} finished seeds"]


def _undecided(state: SweepState) -> list[str]:
    """Return sentences on the groups without a chosen candidate; empty if every group has one."""
    groups = [choice for choice in choices(state) if choice.chosen is None]
    if not groups:
        return []
    which = " and ".join(quoted(choice.group) for choice in groups[:NAMED])
    more = f" and {len(groups) - NAMED} more" if len(groups) > NAMED else ""
    yet = " yet" * any(choice.open for choice in groups)
    return [f"no candidate has been chosen{yet} for {which}{more}"]


def _names(of: list[_Candidate]) -> str:
    """Return the labels of configurations, or their number if there are many."""
    if len(of) > NAMED:
        return f"{len(of)} configurations"
    labels = [each.configuration.label for each in of]
    sizes = f"batch size{'s' * (len(labels) > 1)} " if all(map(str.isdigit, labels)) else ""
    *others, last = map(quoted, labels)
    return sizes + " and ".join([", ".join(others), last] if others else [last])


def _value(metric: PrimaryMetric, candidate: _Candidate) -> str:
    """Return the mean with its interval and the number of seeds; an accuracy in percent."""
    estimate = of_mean(list(candidate.side.values.values()), candidate.side.floor)
    low, high = interval(estimate) if estimate else (candidate.mean, candidate.mean)
    shown = f"{candidate.mean * 100:.2f} % [{low * 100:.2f}, {high * 100:.2f}]"
    if not metric.is_accuracy:
        shown = f"{significant(candidate.mean)} [{significant(low)}, {significant(high)}]"
    fell = candidate.side.collapse()
    return f"{shown} over {len(candidate.side.values)} seeds{f' ({fell})' if fell else ''}"


def _seeds(level: list[_Candidate]) -> str:
    counts = sorted({len(candidate.side.values) for candidate in level})
    return f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _seconds(state: SweepState, candidate: _Candidate) -> float:
    mean = mean_of(state, candidate.configuration.id, TIME)
    return mean.mean if mean else float("inf")


def _time(state: SweepState, candidate: _Candidate) -> str:
    timing = candidate.configuration.settings.run.timing
    size = stack_of(state, candidate.configuration.id)
    together = f" for a stack of {size} replicates" if size > 1 else ""
    return f"Training took {_seconds(state, candidate):.3g} s{together}, {TIMED_AS[timing]}"


def advice(
    state: SweepState, critical: Critical | None = None, noise: Sequence[NoiseFinding] = ()
) -> str:
    """Return the recommendation as a paragraph, with its settings and the critical batch size."""
    outcome = recommended(state)
    parts = [outcome.sentence]
    if outcome.configuration:
        parts.append(_settings(state, outcome.configuration))
    if critical:
        parts += [critical_sentence(critical), noise_sentence(critical, noise)]
    if critical and outcome.configuration:
        parts.append(meaning(critical, outcome.configuration.settings.train.batch_size))
    return " ".join(part for part in parts if part)


def _settings(state: SweepState, configuration: Configuration) -> str:
    """Return in words how a configuration trained: learning rate, micro-batches, steps, images."""
    trials = state.replicates(configuration.id)
    started = next((trial.started for trial in trials if trial.started), None)
    plan = next((state.plans[trial.id] for trial in trials if trial.id in state.plans), None)
    lr = started.lr if started else configuration.settings.train.lr
    scaled = " after scaling" if lr != configuration.settings.train.lr else ""
    name = named(configuration.label)
    sentence = f"{name[0].upper()}{name[1:]} trained with {configuration.settings.train.optimizer} "
    sentence += f"at a learning rate of {lr:g}{scaled}"
    short = short_of_all(state, configuration.id)
    sentence += f" (of which its warmup reached {short:.3g})" if short is not None else ""
    sentence += f" and with micro-batches of {plan.micro_batch_size:,}" if plan else ""
    costs = [(mean_of(state, configuration.id, name), name) for name in ("steps", "samples")]
    spent = " and ".join(f"{mean.mean:,.0f} {name}" for mean, name in costs if mean)
    return f"{sentence}, for {spent}."
