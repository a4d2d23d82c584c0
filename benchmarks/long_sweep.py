"""Write a simulated sweep as long as the longest that people open, with a journal of real size."""

import math
import os
from pathlib import Path

import msgspec

from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.spec import Configuration, Data, Model, Settings, Train, Trial, trials_of
from batchscope.engine.sweeps.store import LAUNCH, LOCK, SWEEP, Launch

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
RATES = (0.1, 0.2)
TRAIN_SIZE, TEST_SIZE = 1437, 360
A_STATEMENT = 40  # epochs per event
TOML = 'title = "Long"\n[data]\nname = "digits"\n[model]\nname = "mlp"\n'


def configurations(seeds: int, epochs: int) -> tuple[Configuration, ...]:
    return tuple(
        Configuration(
            id=f"b{size}-r{rate}",
            label=f"{size}, {rate}",
            settings=Settings(
                data=Data(name="digits"),
                model=Model(name="mlp", hidden=(128, 64)),
                train=Train(batch_size=size, lr=rate, epochs=epochs),
            ),
            seeds=tuple(range(seeds)),
        )
        for rate in RATES
        for size in SIZES
    )


def record(trial: Trial, epoch: int, epochs: int) -> ev.EpochRecord:
    """Return the record of an epoch, with as many digits as in a real one."""
    steps = -(-TRAIN_SIZE // trial.batch_size)
    wave = math.sin(epoch * 1.7 + trial.seed + trial.batch_size)
    test = 0.97 - 0.8 * math.exp(-epoch / 50) + 0.003 * wave
    counts = tuple(max(1, round(40 * math.exp(-(((at - 8) / 4) ** 2)))) for at in range(17))
    norms = ev.NormSlice(
        first_step=steps * (epoch - 1),
        count=sum(counts),
        mean=0.31 * math.exp(-epoch / 700) + 0.001 * wave,
        squares=1.9 + 0.1 * wave,
        first_bin=110 - epoch // 100,
        counts=counts,
    )
    return ev.EpochRecord(
        epoch=epoch,
        steps=steps * epoch,
        samples=TRAIN_SIZE * epoch,
        lr=trial.settings.train.lr,
        train_loss=0.7 * math.exp(-epoch / 300) + 1e-4 * (2 + wave),
        train_accuracy=min(1.0, test + 0.02),
        test_loss=0.2 + 0.01 * wave,
        test_accuracy=test,
        seconds=0.0213 + 0.001 * wave,
        epoch_samples=TRAIN_SIZE,
        weight_norm=9.1 + 0.001 * epoch + 0.01 * wave,
        distance_from_init=math.log1p(epoch) + 0.01 * wave,
        norms=(norms,),
        peak_memory_bytes=1_219_000,
        update_norm_mean=0.031 + 0.001 * wave,
        path_length=0.7 * epoch + 0.01 * wave,
    )


def write_long_sweep(home: Path, trials: int, epochs: int) -> Path:
    """Write a finished sweep of `trials` trials (a multiple of 20) and return its folder."""
    chosen = configurations(trials // (len(SIZES) * len(RATES)), epochs)
    folder = home / "sweeps" / "20270115-080000-long"
    folder.mkdir(parents=True)
    (folder / SWEEP).write_text(TOML)
    (folder / LAUNCH).write_bytes(msgspec.json.encode(Launch(preset="long")))
    (folder / LOCK).touch()
    writer = journal.Writer(folder / journal.NAME)
    for event in (
        ev.SweepOpened(
            id=folder.name,
            preset="long",
            title="Long",
            question="How long does it take to open?",
            source="",
            configurations=chosen,
        ),
        ev.ConductorStarted(pid=os.getpid(), machine={"cores": 2}, at=1.0),
        ev.DataReady(name="digits", train=TRAIN_SIZE, test=TEST_SIZE, shape=(1, 8, 8), digest="0"),
    ):
        writer.append(event)
    for configuration in chosen:
        for trial in trials_of(configuration):
            write_trial(writer, trial, epochs)
    count = trials
    ended = ev.SweepEnded(
        state="finished", seconds=100.0, trials=count, finished=count, failed=0, at=101.0
    )
    writer.append(ended)
    writer.close()
    return folder


def write_trial(writer: journal.Writer, trial: Trial, epochs: int) -> None:
    writer.append(ev.Planned(plan=make_plan(trial, TRAIN_SIZE, 1)))
    steps = -(-TRAIN_SIZE // trial.batch_size)
    started = ev.TrialStarted(
        trial=trial.id,
        attempt=1,
        worker=0,
        device="cpu",
        batch_size=trial.batch_size,
        micro_batch_size=trial.batch_size,
        total_steps=steps * epochs,
        steps_per_epoch=steps,
        parameters=17_226,
        init_norm=9.0,
        lr=trial.settings.train.lr,
    )
    writer.append(started)
    records = [record(trial, epoch, epochs) for epoch in range(1, epochs + 1)]
    for at in range(0, epochs, A_STATEMENT):
        some = tuple(records[at : at + A_STATEMENT])
        writer.append(ev.EpochsFinished(trial=trial.id, attempt=1, records=some))
    writer.append(ev.TrialEnded(trial=trial.id, attempt=1, status="finished"))
