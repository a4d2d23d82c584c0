"""Warns of what makes two sweeps hard to compare."""

from collections.abc import Iterable, Iterator, Sequence

from batchscope.engine.analysis.matching import Matched
from batchscope.engine.analysis.provenance import OF_TIME, changed_code, machine_of, same_data
from batchscope.engine.analysis.tuning import choices, same_seeds
from batchscope.engine.comparison.sources import Opened
from batchscope.engine.findings.configuration_summary import stack_of
from batchscope.engine.metrics.primary_metric import IN_WORDS, PrimaryMetric, primary_of
from batchscope.engine.spec import Configuration

MOST_FILES = 3


def remarks(a: Opened, b: Opened, matched: Matched, metric: PrimaryMetric) -> list[str]:
    """Return every warning about the comparison of A with B, as sentences."""
    return [
        *_unfinished(a, b),
        *_damaged(a, b),
        *_metrics(matched, metric),
        *_data(a, b, matched, metric),
        *_times(a, b, matched),
        *_unclear(matched),
        *_chosen(a, b),
    ]


def _chosen(a: Opened, b: Opened) -> Iterator[str]:
    for name, side in (("A", a), ("B", b)):
        made = [each for each in choices(side.state) if same_seeds(each)]
        if made:
            keys = " and ".join(key.split(".", 1)[1] for key in made[0].candidates[0].settings)
            yield f"{name} chose {keys} on the seeds that are compared here, which flatters it"


def _unfinished(a: Opened, b: Opened) -> Iterator[str]:
    for name, side in (("A", a), ("B", b)):
        if side.pending:
            of = f"{side.pending} of {len(side.state.trials)} trials"
            verb = "has" if side.pending == 1 else "have"
            yield f"{name} is unfinished: {of} {verb} not ended, so the results may change"


def _damaged(a: Opened, b: Opened) -> Iterator[str]:
    for name, side in (("A", a), ("B", b)):
        if side.damaged:
            lines = "1 damaged line" if side.damaged == 1 else f"{side.damaged} damaged lines"
            yield f"skipped {lines} of {name}'s journal"


def _metrics(matched: Matched, metric: PrimaryMetric) -> Iterator[str]:
    """Say why the sweeps are not compared by the metrics by which each of them is told."""
    one, other = (primary_of(pair[at].settings.task for pair in matched.pairs) for at in (0, 1))
    if one.part != other.part:
        yield (
            f"A was measured by its {one.title} and B by its {other.title}: these are not compared "
            "with each other"
        )
    elif one.name != other.name:
        yield (
            f"A is usually told by its {one.title} and B by its {other.title}; here both are told "
            f"by the {metric.title}, which both have"
        )
    elif one.better != other.better:
        yield (
            f"A says that {one.better} is better for the {one.title}, and B that {other.better} is"
        )


def _data(a: Opened, b: Opened, matched: Matched, metric: PrimaryMetric) -> Iterator[str]:
    settings = [(x.settings, y.settings) for x, y in matched.pairs]
    own = any(each.task for pair in settings for each in pair)
    what, of = ("samples", f"values of {metric.title}") if own else ("images", "accuracies")
    if not all(same_data(a.state, b.state, x, y, metric.part) for x, y in settings):
        one, two = (_named({each[at].data.name for each in settings}) for at in (0, 1))
        other = f"{one} and {two}" if one != two else f"both {one}, but not the same {what}"
        part = IN_WORDS[metric.part]
        yield (
            f"{of} are not judged: the {part} {what} differ ({other}), so a difference may "
            "come from the data"
        )
        return
    yield from _code(matched)
    if any(x.data.validation != y.data.validation for x, y in settings):
        yield f"A and B hold out different shares of the data, so they trained on different {what}"


def _code(matched: Matched) -> Iterator[str]:
    files = sorted({f for x, y in matched.pairs for f in changed_code(x.settings, y.settings)})
    if files:
        more = len(files) - MOST_FILES
        named = ", ".join(files[:MOST_FILES]) + (f" and {more} more" if more > 0 else "")
        yield (
            f"the code of A and B differs ({named}), so it is not known whether their data are the "
            "same; verdicts assume that they are"
        )


def _times(a: Opened, b: Opened, matched: Matched) -> Iterator[str]:
    one, other = _facts(a), _facts(b)
    if one != other:
        yield f"times were measured under different conditions: {', '.join(_apart(one, other))}"
    sizes = [
        (stack_of(a.state, x.id), stack_of(b.state, y.id))
        for x, y in matched.pairs
        if all(_began(of, each) for of, each in ((a, x), (b, y)))
    ]
    if any(left != right for left, right in sizes):
        yield (
            "some times and peaks (marked !) cannot be compared: their replicates trained in "
            "stacks of different sizes"
        )
    if any(size > 1 for pair in sizes for size in pair):
        yield "× marks times and peaks of a whole stack of replicates"
    sides: tuple[tuple[str, Opened, Sequence[Configuration]], ...] = (
        ("A", a, [x for x, _ in matched.pairs]),
        ("B", b, [y for _, y in matched.pairs]),
    )
    shared = [name for name, side, of in sides if _shared(side, of)]
    if shared:
        yield f"other trials ran while epochs were timed in {' and '.join(shared)}"


def _began(of: Opened, configuration: Configuration) -> bool:
    return any(trial.started for trial in of.state.replicates(configuration.id))


def _facts(of: Opened) -> dict[str, object]:
    machine = machine_of(of.state)
    return {key: machine.get(key) for key in OF_TIME}


def _apart(one: dict[str, object], other: dict[str, object]) -> Iterable[str]:
    return (key for key in OF_TIME if one[key] != other[key])


def _shared(of: Opened, among: Sequence[Configuration]) -> bool:
    workers = len(of.state.workers)
    return workers > 1 and any(each.settings.run.timing == "shared" for each in among)


def _unclear(matched: Matched) -> Iterator[str]:
    for size, (one, other) in matched.unclear.items():
        yield (
            f"batch size {size} is not compared: the settings that vary do not say which of the "
            f"{one} in A matches which of the {other} in B"
        )


def _named(names: set[str]) -> str:
    return ", ".join(sorted(names))
