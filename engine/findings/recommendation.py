"""One sentence: which batch size to use, and why; or that the seeds cannot tell.

The configuration with the highest mean test accuracy is compared with each other one. It is
recommended where every comparison tells it apart: all of them must, so none needs an adjustment
(intersection-union test, Berger 1982). Otherwise the fastest of those that cannot be told from it
is named, for what that is worth.
"""

from dataclasses import dataclass

from engine.findings.sides import LEAST_SEEDS, OPEN, Side, difference, gather
from engine.findings.statistics import LEVEL, interval, of_mean, p_value
from engine.findings.summary import mean_of
from engine.spec import Configuration
from engine.state import SweepState

ACCURACY, TIME = "test_accuracy", "training_seconds"
NAMED = 6


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
        return f"batch size {label}" if label.isdigit() else f"“{label}”"


def recommendation(state: SweepState) -> str:
    """The sentence; it begins with `Undetermined` where it is, and with `So far` before the end."""
    sentence = _sentence(state)
    if all(trial.status not in OPEN for trial in state.trials.values()):
        return sentence
    joint = " " if sentence.startswith("Undetermined") else ": "
    return f"So far{joint}{sentence[0].lower()}{sentence[1:]}"


def _sentence(state: SweepState) -> str:
    data = {each.settings.data.name for each in state.configurations.values()}
    if len(data) > 1:
        return f"Undetermined: accuracies on {' and '.join(sorted(data))} cannot be compared."
    known = _candidates(state)
    if not known:
        return f"Undetermined: no configuration has {LEAST_SEEDS} finished seeds."
    best = max(known, key=lambda candidate: candidate.mean)
    if len(known) == 1:
        return f"Undetermined: {best.name} alone has {LEAST_SEEDS} finished seeds."
    level = [best, *_not_told_apart(best, known)]
    if len(level) == 1:
        return (
            f"Use {best.name}: its test accuracy, {_accuracy(best)}, is the highest of "
            f"{len(known)} and told from every other one; {_time(state, best)}."
        )
    fastest = min(level, key=lambda candidate: _seconds(state, candidate))
    means = sorted(candidate.mean for candidate in level)
    return (
        f"Undetermined: {_count(level, known)} cannot be told apart by test accuracy "
        f"({means[0] * 100:.2f} to {means[-1] * 100:.2f} %) over {_seeds(level)} seeds; of these "
        f"{fastest.name} is the fastest: {_time(state, fastest)}."
    )


def _candidates(state: SweepState) -> list[_Candidate]:
    """Configurations with enough finished seeds, smaller batch sizes first."""
    by_size = sorted(state.configurations.values(), key=lambda each: each.settings.train.batch_size)
    sides = [_Candidate(each, gather(state, ACCURACY, [each])) for each in by_size]
    return [candidate for candidate in sides if not candidate.side.thin]


def _not_told_apart(best: _Candidate, known: list[_Candidate]) -> list[_Candidate]:
    others = [candidate for candidate in known if candidate is not best]
    return [candidate for candidate in others if not _told_apart(best, candidate)]


def _told_apart(best: _Candidate, other: _Candidate) -> bool:
    found = difference(best.side, other.side)
    p = p_value(found) if found else None
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
    names = [c.configuration.label for c in known if c in level]
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _seeds(level: list[_Candidate]) -> str:
    counts = sorted({len(candidate.side.values) for candidate in level})
    return f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _seconds(state: SweepState, candidate: _Candidate) -> float:
    mean = mean_of(state, candidate.configuration.id, TIME)
    return mean.mean if mean else float("inf")


def _time(state: SweepState, candidate: _Candidate) -> str:
    timing = candidate.configuration.settings.run.timing
    return f"{_seconds(state, candidate):.3g} s of training, timed {timing}"
