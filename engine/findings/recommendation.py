"""Recommends a batch size in one sentence, or says that there is no clear winner.

The configuration with the highest mean test accuracy is compared with each other one. It is
recommended if it differs significantly from all of them. All comparisons must be significant, so
none needs an adjustment for their number (intersection-union test, Berger 1982).

Otherwise there is no clear winner, and the sentence names the fastest of the configurations that
do not differ significantly from the best. It names none if all train for the same seconds, or in
stacks of different sizes, because their times cannot be compared.

A configuration with a trial that diverged or failed is left out: a mean over the surviving seeds
would flatter it, and a reader who follows the advice may get another seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from batchscope.engine.analysis.noise_scales import NoiseFinding
from batchscope.engine.analysis.stack_times import TIMED_AS
from batchscope.engine.analysis.statistics import LEVEL, interval, of_mean, p_value
from batchscope.engine.analysis.tuning import choices, chosen_configurations
from batchscope.engine.findings.comparison_sides import (
    LEAST_SEEDS,
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
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.reached_rate import short_of_all
from batchscope.engine.schedule.target import has_target
from batchscope.engine.spec import Configuration, Train

ACCURACY, TIME = "test_accuracy", "training_seconds"
NAMED = 6
UNDETERMINED = "No clear winner"


@dataclass(frozen=True, slots=True)
class Recommended:
    """A recommendation as a sentence, with the configuration that it names.

    It is the one to use, or without a clear winner the fastest of the best.
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
    data = {each.settings.data.name for each in state.configurations.values()}
    if len(data) > 1:
        sentence = f"{UNDETERMINED}: accuracies on {' and '.join(sorted(data))} cannot be compared."
        return Recommended(sentence)
    sides = _sides(state)
    out = [each for each in sides if each.side.lost]
    outcome = _advice(state, sides, bool(out))
    parts = [outcome.sentence, *_left_out(state, out), *_undecided(state)]
    return replace(outcome, sentence="; ".join(parts) + ".")


def _advice(state: SweepState, sides: list[_Candidate], fewer: bool) -> Recommended:
    """Compare the best candidate with the others.

    Args:
        state: the sweep.
        sides: the candidates, smaller batch sizes first.
        fewer: whether some of them are left out because they lost trials.
    """
    known = [each for each in sides if not each.side.thin and not each.side.lost]
    if not known:
        which = "other configuration" if fewer else "configuration"
        return Recommended(f"{UNDETERMINED}: no {which} has {LEAST_SEEDS} finished seeds")
    best = max(known, key=lambda candidate: candidate.mean)
    if len(known) == 1:
        alone = "remains" if fewer else f"has {LEAST_SEEDS} finished seeds"
        return Recommended(f"{UNDETERMINED}: only {best.name} {alone}")
    level = [best, *_indistinct(best, known)]
    if len(level) > 1:
        which = _names(level) if fewer and len(level) <= NAMED else _count(level, known)
        sentence = f"{UNDETERMINED}: {_alike(level, which)}"
        sizes = sorted({stack_of(state, each.configuration.id) for each in level})
        fastest = _fastest(state, level)
        if fastest is None:
            return Recommended(sentence)
        if len(sizes) > 1:
            return Recommended(f"{sentence}; their times cannot be compared: {_unlike(sizes)}")
        sentence += f"; of these, {fastest.name} is the fastest: {_time(state, fastest)}"
        return Recommended(sentence, fastest.configuration)
    return Recommended(
        f"Use {best.name}: its test accuracy, {_accuracy(best)}, is significantly higher than "
        f"that of {_others(len(known) - 1)}; {_time(state, best)}",
        best.configuration,
    )


def _others(count: int) -> str:
    return {1: "the other configuration", 2: "both others"}.get(count, f"all {count} others")


def _alike(level: list[_Candidate], which: str) -> str:
    """Return a sentence: the test accuracies of the candidates do not differ significantly."""
    means = sorted(candidate.mean for candidate in level)
    return (
        f"the test accuracies of {which} do not differ significantly "
        f"({means[0] * 100:.2f} to {means[-1] * 100:.2f} %, {_seeds(level)} seeds)"
    )


def _fastest(state: SweepState, level: list[_Candidate]) -> _Candidate | None:
    """Return the candidate that trains fastest; None if the budget is given in seconds."""
    if any(_for_seconds(candidate.configuration.settings.train) for candidate in level):
        return None
    return min(level, key=lambda candidate: _seconds(state, candidate))


def _unlike(sizes: list[int]) -> str:
    """Return a sentence on why times of stacks of these sizes are not compared."""
    *others, last = ["alone" if size == 1 else f"in stacks of {size}" for size in sizes]
    return f"replicates trained {', '.join(others)} and {last}"


def _for_seconds(train: Train) -> bool:
    return train.seconds is not None and not has_target(train)


def _sides(state: SweepState) -> list[_Candidate]:
    """Return the configurations that represent the sweep, smaller batch sizes first."""
    by_size = sorted(chosen_configurations(state), key=lambda each: each.settings.train.batch_size)
    return [_Candidate(each, gather(state, ACCURACY, [each])) for each in by_size]


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


def _indistinct(best: _Candidate, known: list[_Candidate]) -> list[_Candidate]:
    others = [candidate for candidate in known if candidate is not best]
    return [candidate for candidate in others if not _differs(best, candidate)]


def _differs(best: _Candidate, other: _Candidate) -> bool:
    estimate = difference(best.side, other.side)
    p = p_value(estimate) if estimate else None
    return p is not None and p < LEVEL


def _accuracy(candidate: _Candidate) -> str:
    estimate = of_mean(list(candidate.side.values.values()), candidate.side.floor)
    low, high = interval(estimate) if estimate else (candidate.mean, candidate.mean)
    shown = f"{candidate.mean * 100:.2f} % [{low * 100:.2f}, {high * 100:.2f}]"
    return f"{shown} over {len(candidate.side.values)} seeds"


def _count(level: list[_Candidate], known: list[_Candidate]) -> str:
    if len(level) == len(known):
        return f"all {len(known)} configurations" if len(known) > 2 else "the two configurations"
    if len(level) > NAMED:
        return f"the best {len(level)} of {len(known)} configurations"
    return _names([candidate for candidate in known if candidate in level])


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
    return f"training took {_seconds(state, candidate):.3g} s{together}, {TIMED_AS[timing]}"


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
