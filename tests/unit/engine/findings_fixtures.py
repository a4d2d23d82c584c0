"""Sweeps whose every measured value was chosen, put together without a training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batchscope.engine.findings.claim_verdicts import Verdict, judge
from batchscope.engine.journal import events as ev
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.spec import (
    Claim,
    Configuration,
    Data,
    Model,
    Probe,
    Run,
    Settings,
    Train,
    trials_of,
)

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
    probe: Probe | None = None,
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
            probe=probe or Probe(),
        ),
        seeds=tuple(range(seeds)),
    )


@dataclass(frozen=True)
class Ended:
    """How a trial ended, and what it stated that is not the usual.

    `figures` are those of its one epoch; `records` stand for that epoch if given. `probes` are
    shares of the budget with what was drawn then; `stacked` replicates trained together.
    """

    accuracy: float = 0.9
    status: ev.TrialStatus = "finished"
    figures: Mapping[str, Any] = field(default_factory=dict)
    records: tuple[ev.EpochRecord, ...] = ()
    probes: Mapping[float, Sequence[ev.Draws | ev.Competition]] = field(default_factory=dict)
    stacked: int = 1


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
            state.apply(started(trial.id, each, told.stacked))
            found = told.records or (record(told.accuracy, **told.figures),)
            if told.status != "queued":
                state.fold(probed(trial.id, at, drawn) for at, drawn in told.probes.items())
                state.apply(ev.EpochsFinished(trial=trial.id, attempt=1, records=found))
                state.apply(ev.TrialEnded(trial=trial.id, attempt=1, status=told.status))
    return state


def started(trial: str, of: Configuration, stacked: int = 1) -> ev.TrialStarted:
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
        stacked=stacked,
    )


def probed(trial: str, at: float, found: Sequence[ev.Draws | ev.Competition]) -> ev.Probed:
    """A moment at which a trial held still."""
    return ev.Probed(
        trial=trial,
        attempt=1,
        at_share=at,
        epoch=1,
        steps=int(20 * at),
        samples=int(160 * at),
        seconds=1.0,
        draws=tuple(each for each in found if isinstance(each, ev.Draws)),
        competitions=tuple(each for each in found if isinstance(each, ev.Competition)),
    )


def draws(size: int, mean: float, cosine: float | None = None, spread: float = 0.0) -> ev.Draws:
    """Two gradients whose norms are `mean` ± `spread`, and whose values have a kurtosis of 4."""
    values = ev.ValueBins(count=8, mean=0.0, std=1.0, kurtosis=4.0, bins=((0, 8),))
    norms = ev.NormSlice(0, 2, mean, 2 * spread**2, 201, (2,))
    return ev.Draws(batch_size=size, norms=norms, values=values, pairwise_cosine=cosine)


def competition(
    small: int, large: int, cosine: float, ratio: float = 2.0, straightness: float = 0.8
) -> ev.Competition:
    """A competition whose small steps have a mean cosine of a quarter."""
    return ev.Competition(
        small=small,
        large=large,
        draws=5,
        lr=0.1,
        cosine=(cosine, 0.1),
        length_ratio=(ratio, 0.1),
        straightness=(straightness, 0.1),
        step_cosine=(0.25, 0.1),
        examples=(),
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


def verdict(state: SweepState) -> Verdict:
    """The verdict on the only claim."""
    (only,) = judge(state)
    return only
