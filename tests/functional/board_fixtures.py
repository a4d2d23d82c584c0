"""Simulated stored sweeps with their own clock, so that every run writes the same bytes."""

import fcntl
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from batchscope import __version__
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.metrics.norm_histogram import BINS_PER_DECADE, LOWEST
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.spec import (
    Claim,
    Configuration,
    Data,
    Model,
    Run,
    Settings,
    Train,
    Trial,
    trials_of,
)
from batchscope.engine.sweeps.store import LAUNCH, LOCK, SWEEP, Launch

START = 1_800_000_000.0
NOW = START + 95.0
SIZES = (8, 32, 128, 512)
TRAIN_SIZE, TEST_SIZE = 1437, 360
EPOCHS = 20
GIB = 1 << 30

PROBED = (1, 8, 64)
PAIRS = ((1, 2), (16, 64))
CLAIMS = (
    Claim(
        statement="Test accuracy falls as the batch grows",
        measure="test_accuracy",
        trend="decreasing",
        over="train.batch_size",
    ),
    Claim(
        statement="A larger batch makes an epoch shorter",
        measure="epoch_seconds",
        trend="decreasing",
        over="train.batch_size",
    ),
    Claim(
        statement="A batch of 32 is as good as one of 8",
        measure="test_accuracy",
        left={"train.batch_size": 32},
        relation="equal",
        right={"label": "8"},
        within=0.005,
    ),
)


def configurations(
    sizes: tuple[int, ...] = SIZES,
    seeds: int = 3,
    timing: str = "shared",
    data: Literal["digits", "mnist"] = "digits",
) -> tuple[Configuration, ...]:
    """Return one configuration for each batch size."""
    return tuple(
        Configuration(
            id=f"b{size}",
            label=str(size),
            settings=Settings(
                data=Data(name=data),
                model=Model(name="mlp", hidden=(128, 64)),
                train=Train(batch_size=size, lr=0.1, epochs=EPOCHS),
                run=Run(timing="alone" if timing == "alone" else "shared"),
            ),
            seeds=tuple(range(seeds)),
        )
        for size in sizes
    )


class Recipe:
    """Writes the journal of a simulated sweep, event by event."""

    def __init__(self, home: Path, name: str = "20270115-080000-quickstart") -> None:
        self.folder = home / "sweeps" / name
        self.folder.mkdir(parents=True, exist_ok=True)
        preset = name.split("-", 2)[-1]
        (self.folder / LAUNCH).write_bytes(msgspec.json.encode(Launch(preset=preset)))
        if not (self.folder / SWEEP).exists():
            (self.folder / SWEEP).write_text(f'title = "{preset}"\n')
        self.preset = preset
        self.path = self.folder / journal.NAME
        first = ev.JournalOpened(version=ev.JOURNAL_VERSION, program=__version__)
        if not self.path.exists():
            self.path.write_bytes(journal.encode(first) + b"\n")  # as all lines here: no checksum
        self.at = START
        self.claims: tuple[Claim, ...] = CLAIMS
        self.stacks: dict[int, int] = {}
        """How many replicates train as one stack, by batch size; 1 for a size that is missing."""
        self.layers: dict[str, int] = {}
        """The layers with recorded gradient norms, and the number of their weights."""

    def say(self, event: ev.AnyEvent, after: float = 0.0) -> None:
        """Append an event, with the time of the recipe's own clock."""
        self.at += after
        with open(self.path, "ab") as file:
            file.write(journal.encode(msgspec.structs.replace(event, at=self.at)) + b"\n")

    def open(
        self,
        chosen: tuple[Configuration, ...],
        title: str = "Batch size in half a minute",
        question: str = "What changes when only the batch size does?",
    ) -> None:
        """Write that the sweep was opened and a conductor started."""
        self.say(
            ev.SweepOpened(
                id=self.folder.name,
                preset=self.preset,
                title=title,
                question=question,
                source="batchscope",
                configurations=chosen,
                claims=self.claims,
            )
        )
        self.say(ev.ConductorStarted(pid=1, machine={"cores": 2}))

    def ready(self, chosen: tuple[Configuration, ...], workers: int = 2) -> None:
        """Write that data and workers are ready, and the plan of every trial."""
        self.say(
            ev.DataReady(
                name="digits", train=TRAIN_SIZE, test=TEST_SIZE, shape=(1, 8, 8), digest="0"
            ),
            1,
        )
        for worker in range(workers):
            self.say(
                ev.WorkerReady(
                    worker=worker,
                    device="cpu",
                    device_name="cpu",
                    pid=2,
                    threads=1,
                    versions={},
                    seconds=2.5,
                ),
                1,
            )
        for configuration in chosen:
            for trial in trials_of(configuration):
                self.say(ev.Planned(plan=make_plan(trial, TRAIN_SIZE, 1)))
        self.memory()

    def memory(self) -> None:
        """Write a sample of the device's memory."""
        self.say(
            ev.MemorySampled(
                device="cpu", name="Epyc 7443", total=16 * GIB, ours=int(1.25 * GIB), others=5 * GIB
            )
        )

    def start(self, trial: Trial, attempt: int = 1) -> int:
        """Write that a trial started; return its steps per epoch."""
        steps = -(-TRAIN_SIZE // trial.batch_size)
        self.say(
            ev.TrialStarted(
                trial=trial.id,
                attempt=attempt,
                worker=0,
                device="cpu",
                batch_size=trial.batch_size,
                micro_batch_size=trial.batch_size,
                total_steps=steps * EPOCHS,
                steps_per_epoch=steps,
                parameters=17_226,
                init_norm=9.0,
                lr=0.1,
                stacked=self.stacks.get(trial.batch_size, 1),
                layers=tuple(self.layers),
                layer_parameters=tuple(self.layers.values()),
            )
        )
        return steps

    def epochs(self, trial: Trial, last: int, attempt: int = 1, first: int = 1) -> None:
        """Write the epochs `first` to `last` of a trial."""
        records = tuple(
            msgspec.structs.replace(record_of(trial, epoch), **self._by_layer(trial, epoch))
            for epoch in range(first, last + 1)
        )
        self.say(ev.EpochsFinished(trial=trial.id, attempt=attempt, records=records), 1.0)

    def _by_layer(self, trial: Trial, epoch: int) -> dict[str, Any]:
        """Return norms by layer; squares are as 1:3:5:…, the first norm falls with batch size."""
        if not self.layers:
            return {}
        norms = [(1 + 2 * at) ** 0.5 / epoch for at in range(len(self.layers))]
        norms[0] *= 8 / trial.batch_size
        layers = tuple(ev.LayerNorm(norm, 4 * (0.1 * norm) ** 2) for norm in norms)
        return {"layer_draws": 5, "layer_norms": layers}

    def probe(self, trial: Trial, share: float, sizes: tuple[int, ...] = PROBED) -> None:
        """Write the results of a probe of a trial at a share of its budget."""
        self.say(
            ev.Probed(
                trial=trial.id,
                attempt=1,
                at_share=share,
                epoch=round(share * EPOCHS),
                steps=0,
                samples=0,
                seconds=1.5,
                draws=tuple(_draws(size, share, trial.seed) for size in sizes),
                competitions=tuple(_competition(pair, trial.seed) for pair in PAIRS),
            )
        )

    def end(self, trial: Trial, status: ev.TrialStatus = "finished", reason: str = "") -> None:
        """Write that a trial ended."""
        self.say(ev.TrialEnded(trial=trial.id, attempt=1, status=status, reason=reason), 2.0)

    def whole(self, trial: Trial) -> None:
        """Write a whole trial: start, epochs and end."""
        self.start(trial)
        self.epochs(trial, EPOCHS)
        self.end(trial)

    def close(self, state: ev.SweepEnding, trials: int, finished: int, reason: str = "") -> None:
        """Write that the conductor ended the sweep."""
        self.say(
            ev.SweepEnded(
                state=state,
                seconds=self.at - START,
                trials=trials,
                finished=finished,
                failed=0,
                reason=reason,
            )
        )


def record_of(trial: Trial, epoch: int) -> ev.EpochRecord:
    """Return a simulated epoch: larger batches learn more slowly and end slightly lower."""
    size = trial.batch_size
    steps = -(-TRAIN_SIZE // size)
    pace = epoch * (8 / size) ** 0.45
    reached = (0.975 - 0.004 * math.log2(size / 8)) * (1 - 0.9 * math.exp(-1.1 * pace))
    wobble = 0.004 * math.sin(7.3 * epoch + 2.1 * trial.seed + size)
    test = min(1.0, reached + wobble)
    train = min(1.0, reached + 0.012 * (1 - math.exp(-pace)))
    norm = 2.0 * (size**-0.18) * math.exp(-0.08 * epoch)
    return ev.EpochRecord(
        epoch=epoch,
        steps=steps * epoch,
        samples=TRAIN_SIZE * epoch,
        lr=0.1,
        train_loss=1 - train,
        train_accuracy=train,
        test_loss=1 - test,
        test_accuracy=test,
        seconds=0.021 + 0.19 * (8 / size),
        epoch_samples=TRAIN_SIZE,
        weight_norm=10.0,
        distance_from_init=epoch * 0.2,
        update_norm_mean=0.1 * norm,
        norms=(_norms(norm, steps * (epoch - 1), steps),),
    )


def _norms(mean: float, first_step: int, steps: int) -> ev.NormSlice:
    centre = round((math.log10(mean) - LOWEST) * BINS_PER_DECADE) + 1
    shape = (1, 3, 6, 9, 7, 5, 4, 2, 1)
    counts = tuple(max(1, weight * steps // sum(shape)) for weight in shape)
    return ev.NormSlice(
        first_step=first_step,
        count=sum(counts),
        mean=mean,
        squares=sum(counts) * (0.3 * mean) ** 2,
        first_bin=centre - len(shape) // 2,
        counts=counts,
    )


def _draws(size: int, share: float, seed: int) -> ev.Draws:
    """Return simulated draws: larger batches have shorter gradients and thinner tails."""
    mean = 2.0 * size**-0.3 * (1 - 0.5 * share)
    tail = 10 - size.bit_length()
    positive = {127 - 3 - away: 10 ** max(0, 6 - abs(away - 6)) for away in range(-tail // 2, 16)}
    counts = {0: 4000, **positive, **{-index: count // 2 for index, count in positive.items()}}
    return ev.Draws(
        batch_size=size,
        norms=_norms(mean, 0, 200),
        values=ev.ValueBins(
            count=sum(counts.values()),
            mean=0.0,
            std=mean / 100,
            kurtosis=3.0 + 100 / size + seed,
            bins=tuple(sorted((index, count) for index, count in counts.items() if count)),
        ),
        pairwise_cosine=size / 100,
    )


def _competition(pair: tuple[int, int], seed: int) -> ev.Competition:
    return ev.Competition(
        small=pair[0],
        large=pair[1],
        draws=100,
        lr=0.1,
        cosine=(0.9 + seed / 100, 0.05),
        length_ratio=(pair[1] / pair[0] * 0.9, 0.2),
        straightness=(0.75, 0.1),
        step_cosine=(-0.1, 0.3),
        examples=(
            ev.Competing(2.0, (0.9, 0.6), (1.0, 0.3), 0.4),
            ev.Competing(1.8, (0.7, 0.4), (0.8, 0.1), 0.2),
        ),
    )


def probed_sweep(home: Path, sizes: tuple[int, ...] = (16,), seeds: int = 2) -> Path:
    """Write a finished sweep with each trial probed at the start, half way and at the end."""
    recipe, chosen = Recipe(home), configurations(sizes, seeds)
    recipe.open(chosen)
    recipe.ready(chosen)
    trials = [trial for configuration in chosen for trial in trials_of(configuration)]
    for trial in trials:
        recipe.start(trial)
        recipe.probe(trial, 0.0)
        recipe.epochs(trial, EPOCHS // 2)
        recipe.probe(trial, 0.5)
        recipe.epochs(trial, EPOCHS, first=EPOCHS // 2 + 1)
        recipe.probe(trial, 1.0)
        recipe.end(trial)
    recipe.close("finished", len(trials), len(trials))
    return recipe.folder


def _finished(recipe: Recipe, chosen: tuple[Configuration, ...], **texts: str) -> Path:
    """Write all trials of some configurations as finished; return the folder."""
    recipe.open(chosen, **texts)
    recipe.ready(chosen)
    trials = [trial for configuration in chosen for trial in trials_of(configuration)]
    for trial in trials:
        recipe.whole(trial)
    recipe.close("finished", len(trials), len(trials))
    return recipe.folder


def finished_sweep(home: Path, name: str = "20270115-080000-quickstart", **texts: str) -> Path:
    """Write a finished sweep of four batch sizes; return its folder."""
    recipe, chosen = Recipe(home, name), configurations()
    return _finished(recipe, chosen, **texts)


def layered_sweep(home: Path, layers: dict[str, int]) -> Path:
    """Write a finished sweep with norms by layer; `layers` gives the weights of each layer."""
    recipe, chosen = Recipe(home), configurations()
    recipe.layers = layers
    return _finished(recipe, chosen)


def stacked_sweep(home: Path, stacks: dict[int, int]) -> Path:
    """Write a finished sweep with replicates trained as stacks, by batch size."""
    recipe, chosen = Recipe(home), configurations()
    recipe.stacks = stacks
    return _finished(recipe, chosen)


def running_sweep(home: Path, **texts: str) -> Path:
    """Write a sweep after 95 seconds: 5 trials done, 1 failed, 2 running, the rest queued."""
    recipe, chosen = Recipe(home), configurations()
    recipe.open(chosen, **texts)
    recipe.ready(chosen)
    trials = [trial for seed in range(3) for c in chosen for trial in trials_of(c)[seed : seed + 1]]
    for trial in trials[:5]:
        recipe.whole(trial)
    recipe.start(trials[5])
    recipe.end(trials[5], "failed", "RuntimeError: out of memory while trying to allocate 2.00 GiB")
    recipe.at = NOW - 12.0
    for trial, reached in zip(trials[6:8], (7, 13), strict=True):
        steps = recipe.start(trial)
        recipe.epochs(trial, reached)
        recipe.say(
            ev.Progress(
                trial=trial.id,
                attempt=1,
                epoch=reached,
                steps=reached * steps + steps // 2,
                samples=0,
                seconds=5.0,
            )
        )
    recipe.memory()
    return recipe.folder


@contextmanager
def conductor_of(folder: Path) -> Iterator[None]:
    """Hold the sweep's lock, as a running conductor does."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def wide_sweep(home: Path, count: int) -> Path:
    """Write a finished sweep of `count` batch sizes with one seed each."""
    recipe, chosen = Recipe(home), configurations(tuple(range(1, count + 1)), seeds=1)
    recipe.open(chosen)
    recipe.ready(chosen)
    for configuration in chosen:
        recipe.whole(trials_of(configuration)[0])
    recipe.close("finished", count, count)
    return recipe.folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return an empty home."""
    (tmp_path / "sweeps").mkdir()
    return tmp_path
