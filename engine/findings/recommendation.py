"""One sentence: which batch size to use, and why; or that the seeds cannot tell.

The configuration with the highest mean test accuracy is compared with each other one. It is
recommended where every comparison tells it apart: all of them must, so none needs an adjustment
(intersection-union test, Berger 1982). Otherwise the fastest of those that cannot be told from it
is named, for what that is worth; not where all train for the same seconds, or in stacks of several
sizes, whose times do not compare.

A configuration is left out where a trial of it diverged or failed: a mean over the seeds that
survived would flatter it, and who follows the advice may draw another seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from batchscope.engine.analysis.noise_scales import NoiseFinding
from batchscope.engine.analysis.stack_times import TIMED_AS
from batchscope.engine.analysis.statistics import LEVEL, interval, of_mean, p_value
from batchscope.engine.analysis.tuning import choices, chosen_configurations
from batchscope.engine.findings.comparison_sides import LEAST_SEEDS, OPEN, Side, difference, gather
from batchscope.engine.findings.configuration_summary import mean_of, stack_of
from batchscope.engine.findings.critical_batch_size import Critical
from batchscope.engine.findings.critical_batch_text import (
    critical_sentence,
    meaning,
    noise_sentence,
)
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.schedule.target import has_target
from batchscope.engine.spec import Configuration, Train

ACCURACY, TIME = "test_accuracy", "training_seconds"
NAMED = 6
UNDETERMINED = "Which batch size to use is undetermined"


@dataclass(frozen=True, slots=True)
class Recommended:
    """The sentence, and the configuration that it names: to use, or the fastest of those alike."""

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
        """The label, with the word for a number where it is one."""
        label = self.configuration.label
        return f"batch size {label}" if label.isdigit() else quoted(label)


def quoted(label: str) -> str:
    """A label as it stands in a list: what is no number may hold commas of its own."""
    return label if label.isdigit() else f"“{label}”"


def recommendation(state: SweepState) -> str:
    """The sentence: undetermined where it is, and with `So far` before the end."""
    return recommended(state).sentence


def recommended(state: SweepState) -> Recommended:
    """The same sentence, with the configuration in it."""
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
    """What to use; `fewer` tells that configurations are left out."""
    known = [each for each in sides if not each.side.thin and not each.side.lost]
    if not known:
        which = "other configuration" if fewer else "configuration"
        return Recommended(f"{UNDETERMINED}: no {which} has {LEAST_SEEDS} finished seeds")
    best = max(known, key=lambda candidate: candidate.mean)
    if len(known) == 1:
        alone = "is alone to compare" if fewer else f"alone has {LEAST_SEEDS} finished seeds"
        return Recommended(f"{UNDETERMINED}: {best.name} {alone}")
    level = [best, *_not_told_apart(best, known)]
    if len(level) > 1:
        which = _names(level) if fewer and len(level) <= NAMED else _count(level, known)
        sentence = f"{UNDETERMINED}: {_alike(level, which)}"
        sizes = sorted({stack_of(state, each.configuration.id) for each in level})
        fastest = _fastest(state, level)
        if fastest is None:
            return Recommended(sentence)
        if len(sizes) > 1:
            return Recommended(f"{sentence}; none of these is named the fastest: {_unlike(sizes)}")
        named = f"; of these {fastest.name} is the fastest: {_time(state, fastest)}"
        return Recommended(sentence + named, fastest.configuration)
    return Recommended(
        f"Use {best.name}: its test accuracy, {_accuracy(best)}, is the highest of "
        f"{len(known)} and told from every other one; {_time(state, best)}",
        best.configuration,
    )


def _alike(level: list[_Candidate], which: str) -> str:
    """That these cannot be told apart."""
    means = sorted(candidate.mean for candidate in level)
    return (
        f"{which} cannot be told apart by test accuracy "
        f"({means[0] * 100:.2f} to {means[-1] * 100:.2f} %) over {_seeds(level)} seeds"
    )


def _fastest(state: SweepState, level: list[_Candidate]) -> _Candidate | None:
    """Which of them trains the shortest; None where seconds are what they were given."""
    if any(_for_seconds(candidate.configuration.settings.train) for candidate in level):
        return None
    return min(level, key=lambda candidate: _seconds(state, candidate))


def _unlike(sizes: list[int]) -> str:
    """Why times of stacks of these sizes are not compared."""
    *others, last = ["alone" if size == 1 else f"in stacks of {size}" for size in sizes]
    return f"replicates trained {', '.join(others)} and {last}, and such times do not compare"


def _for_seconds(train: Train) -> bool:
    return train.seconds is not None and not has_target(train)


def _sides(state: SweepState) -> list[_Candidate]:
    """Every configuration, or what was chosen of it, smaller batch sizes first."""
    by_size = sorted(chosen_configurations(state), key=lambda each: each.settings.train.batch_size)
    return [_Candidate(each, gather(state, ACCURACY, [each])) for each in by_size]


def _left_out(state: SweepState, out: list[_Candidate]) -> list[str]:
    """Which configurations lost trials, and how many."""
    if not out:
        return []
    lost = sum(len(each.side.lost) for each in out)
    trials = sum(len(state.replicates(each.configuration.id)) for each in out)
    one = len(out) == 1
    return [
        f"{_names(out)} {'is' if one else 'are'} left out: {lost} of "
        f"{'its' if one else 'their'} {trials} trials diverged or failed"
    ]


def _undecided(state: SweepState) -> list[str]:
    """For which groups of candidates nothing was chosen, or not yet."""
    groups = [choice for choice in choices(state) if choice.chosen is None]
    if not groups:
        return []
    which = " and ".join(quoted(choice.group) for choice in groups[:NAMED])
    more = f" and {len(groups) - NAMED} more" if len(groups) > NAMED else ""
    return [f"nothing is chosen{' yet' * any(g.open for g in groups)} for {which}{more}"]


def _names(of: list[_Candidate]) -> str:
    """Their labels; of many their number."""
    if len(of) > NAMED:
        return f"{len(of)} configurations"
    labels = [quoted(each.configuration.label) for each in of]
    return " and ".join([part for part in (", ".join(labels[:-1]), labels[-1]) if part])


def _not_told_apart(best: _Candidate, known: list[_Candidate]) -> list[_Candidate]:
    others = [candidate for candidate in known if candidate is not best]
    return [candidate for candidate in others if not _told_apart(best, candidate)]


def _told_apart(best: _Candidate, other: _Candidate) -> bool:
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
    together = f" as one stack of {size} replicates" if size > 1 else ""
    return f"{_seconds(state, candidate):.3g} s of training{together}, {TIMED_AS[timing]}"


def advice(
    state: SweepState, critical: Critical | None = None, noise: Sequence[NoiseFinding] = ()
) -> str:
    """Batch size, micro-batch, rate, cost and evidence; undetermined where it is."""
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
    """Rate, micro-batch and cost of the configuration that was named."""
    trials = state.replicates(configuration.id)
    started = next((trial.started for trial in trials if trial.started), None)
    plan = next((state.plans[trial.id] for trial in trials if trial.id in state.plans), None)
    lr = started.lr if started else configuration.settings.train.lr
    scaled = " after scaling" if lr != configuration.settings.train.lr else ""
    sentence = f"With a learning rate of {lr:g}{scaled} ({configuration.settings.train.optimizer})"
    sentence += f" and micro-batches of {plan.micro_batch_size}" if plan else ""
    costs = [(mean_of(state, configuration.id, name), name) for name in ("steps", "samples")]
    spent = " and ".join(f"{mean.mean:,.0f} {name}" for mean, name in costs if mean)
    return f"{sentence} it takes {spent}."
