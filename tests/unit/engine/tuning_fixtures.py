"""Sweeps with candidates to choose from, put together without a training."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from batchscope.engine.analysis.tuning import to_confirm
from batchscope.engine.journal import events as ev
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.spec import Claim, Configuration, Data, Selection, trials_of
from tests.unit.engine.findings_fixtures import configuration, record, started

Value = float | str
"""A validation accuracy, or how the trial ended without one."""


def candidate(size: int, lr: float, seeds: int, rivals: str, **train: Any) -> Configuration:
    of = configuration(size, lr=lr, seeds=seeds, id=f"b{size}-lr{lr:g}", label=f"{size}, lr {lr:g}")
    tables = msgspec.structs.replace(
        of.settings,
        data=Data(name="digits", validation=0.25),
        train=msgspec.structs.replace(of.settings.train, **train),
    )
    return msgspec.structs.replace(of, settings=tables, rivals=rivals)


def tuned(
    found: Mapping[tuple[int, float], Sequence[Value]],
    *claims: Claim,
    by: Any = "validation_accuracy",
    test: Mapping[tuple[int, float], float] | None = None,
    keys: tuple[str, ...] = ("train.lr",),
    after: int = 0,
    **train: Any,
) -> SweepState:
    """A sweep of candidates by batch size and rate, and what each of their seeds had in the end.

    `test` are test accuracies, 0.5 without; one more image in a thousand for each seed. `after`
    fresh seeds are to follow each choice.
    """
    groups = {
        (size, lr): candidate(size, lr, len(values), str(size), **train)
        for (size, lr), values in found.items()
    }
    state = SweepState()
    state.apply(
        ev.SweepOpened(
            id="s",
            preset="p",
            title="t",
            question="q",
            source="",
            configurations=tuple(groups.values()),
            claims=claims,
            selection=Selection(keys=keys, by=by, seeds_after=after),
        )
    )
    state.apply(ev.DataReady(name="digits", train=80, test=1000, shape=(1, 8, 8), digest="d"))
    for place, values in found.items():
        train_all(state, groups[place], values, (test or {}).get(place, 0.5))
    return state


def train_all(
    state: SweepState, of: Configuration, values: Sequence[Value], accuracy: float = 0.5
) -> None:
    """Train the seeds of a configuration; `accuracy` is the test accuracy of seed 0."""
    for trial, value in zip(trials_of(of), values, strict=True):
        if value == "queued":
            continue
        state.apply(started(trial.id, of))
        if value == "running":
            continue
        held = (
            {"validation_loss": 1 - value, "validation_accuracy": value}
            if isinstance(value, float)
            else {}
        )
        steps = int(100 * value) if isinstance(value, float) else 7
        held["samples"] = steps * trial.batch_size
        one = record(accuracy + trial.seed / 1000, steps=steps, epoch_samples=60, **held)
        state.apply(ev.EpochsFinished(trial=trial.id, attempt=1, records=(one,)))
        status: Any = "finished" if isinstance(value, float) else value
        state.apply(ev.TrialEnded(trial=trial.id, attempt=1, status=status))


def confirm(
    state: SweepState, *values: Sequence[Value], accuracy: float = 0.5
) -> tuple[Configuration, ...]:
    """Add the fresh seeds that are due, train them, and return their configurations."""
    added = to_confirm(state)
    state.apply(ev.ConfigurationsAdded(configurations=added))
    for each, ends in zip(added, values, strict=False):
        train_all(state, each, ends, accuracy)
    return added
