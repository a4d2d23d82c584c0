"""Sweeps whose every measured value was chosen, put together without a training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine import events as ev
from engine.spec import Claim, Configuration, Data, Model, Run, Settings, Train, trials_of
from engine.state import SweepState

TRAIN_SIZE, TEST_SIZE = 80, 1000


def configuration(
    size: int = 8,
    *,
    seeds: int = 3,
    lr: float = 0.1,
    label: str = "",
    id: str = "",
    model: Model | None = None,
    timing: Any = "shared",
    **train: Any,
) -> Configuration:
    """A configuration named by its batch size."""
    return Configuration(
        id=id or f"b{size}",
        label=label or str(size),
        settings=Settings(
            data=Data(name="digits"),
            model=model or Model(name="mlp", hidden=(5,)),
            train=Train(batch_size=size, lr=lr, **{"epochs": 2, **train}),
            run=Run(timing=timing),
        ),
        seeds=tuple(range(seeds)),
    )


@dataclass(frozen=True)
class Ended:
    """How a trial ended, and figures of its one epoch that are not the usual ones."""

    accuracy: float = 0.9
    status: ev.TrialStatus = "finished"
    figures: Mapping[str, Any] = field(default_factory=dict)


def record(accuracy: float, **figures: Any) -> ev.EpochRecord:
    """The one epoch of a trial."""
    usual = {
        "epoch": 1,
        "steps": 10,
        "samples": TRAIN_SIZE,
        "lr": 0.1,
        "train_loss": 0.5,
        "train_accuracy": 0.95,
        "test_loss": 0.5,
        "test_accuracy": accuracy,
        "seconds": 2.0,
        "epoch_samples": TRAIN_SIZE,
        "weight_norm": 3.0,
        "distance_from_init": 1.0,
        "norms": (),
    }
    return ev.EpochRecord(**{**usual, **figures})


def sweep(
    values: Sequence[tuple[Configuration, Sequence[float | Ended]]], *claims: Claim
) -> SweepState:
    """A sweep whose trials measured these, seed by seed; the seeds beyond are queued."""
    state = SweepState()
    state.apply(
        ev.SweepOpened(
            id="s",
            preset="p",
            title="t",
            question="q",
            source="",
            configurations=tuple(each for each, _ in values),
            claims=claims,
        )
    )
    state.apply(
        ev.DataReady(name="digits", train=TRAIN_SIZE, test=TEST_SIZE, shape=(1, 8, 8), digest="d")
    )
    for each, ends in values:
        for trial, end in zip(trials_of(each), ends, strict=False):
            told = end if isinstance(end, Ended) else Ended(end)
            state.apply(started(trial.id, each))
            found = record(told.accuracy, **told.figures)
            if told.status != "queued":
                state.apply(ev.EpochsFinished(trial=trial.id, attempt=1, records=(found,)))
                state.apply(ev.TrialEnded(trial=trial.id, attempt=1, status=told.status))
    return state


def started(trial: str, of: Configuration) -> ev.TrialStarted:
    """A trial's first word."""
    size = of.settings.train.batch_size
    return ev.TrialStarted(
        trial=trial,
        attempt=1,
        worker=0,
        device="cpu",
        batch_size=size,
        micro_batch_size=size,
        total_steps=20,
        steps_per_epoch=-(-TRAIN_SIZE // size),
        parameters=5,
        init_norm=1.5,
        lr=of.settings.train.lr,
    )


def comparison(relation: Any, within: float | None = None, measure: str = "test_accuracy") -> Claim:
    """A claim about batch sizes 8 and 64."""
    return Claim(
        statement=f"8 is {relation} to 64",
        measure=measure,
        left={"train.batch_size": 8},
        relation=relation,
        right={"train.batch_size": 64},
        within=within,
    )


def trend(way: Any, measure: str = "test_accuracy", over: str = "train.batch_size") -> Claim:
    """A claim about all batch sizes."""
    return Claim(statement=f"{way} over {over}", measure=measure, trend=way, over=over)
