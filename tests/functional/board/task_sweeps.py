"""Simulated sweeps over tasks of a person's own."""

from pathlib import Path

import msgspec

from batchscope.engine.journal import events as ev
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.spec import (
    Configuration,
    Data,
    Model,
    Settings,
    Train,
    Trial,
    trials_of,
)
from batchscope.engine.task_table import TaskFacts, TaskTable
from tests.functional.board_fixtures import EPOCHS, Recipe, record_of

TRAIN, TEST = 350, 92
MAE: tuple[tuple[str, str], ...] = (("mae", "lower"), ("r2", "higher"))
LAYERS = {
    f"encoder.layers.{layer}.{part}": 100
    for layer in range(2)
    for part in ("self_attn.in_proj", "self_attn.out_proj", "linear1")
}
TASK = TaskTable(use="mine:make", arguments=(("width", 64),))


def task_configurations(sizes: tuple[int, ...], seeds: int) -> tuple[Configuration, ...]:
    """Return one configuration of the task for each batch size."""
    return tuple(
        Configuration(
            id=f"b{size}",
            label=str(size),
            settings=Settings(
                data=Data(name=TASK.name),
                model=Model(name="task"),
                train=Train(batch_size=size, lr=0.1, epochs=EPOCHS),
                task=TASK,
            ),
            seeds=tuple(range(seeds)),
        )
        for size in sizes
    )


def task_sweep(
    home: Path,
    metrics: tuple[tuple[str, str], ...] = MAE,
    sizes: tuple[int, ...] = (8, 32, 128),
    seeds: int = 3,
    known: bool = True,
    done: bool = True,
) -> Path:
    """Write a sweep over a task, and return its folder.

    Args:
        home: where sweeps are stored.
        metrics: the metrics of the task, with the direction that is better.
        sizes: the batch sizes.
        seeds: how many replicates each has.
        known: whether the task's function has been run.
        done: whether all trials have finished.
    """
    recipe = Recipe(home, "20270115-080000-mine")
    recipe.claims, recipe.layers = (), LAYERS
    chosen = task_configurations(sizes, seeds)
    recipe.open(chosen, "My own network", "How far can the batch grow?")
    if not known:
        return recipe.folder
    facts = TaskFacts(train=TRAIN, test=TEST, weights=385, metrics=metrics)
    recipe.say(
        ev.DataReady(
            name=TASK.name, train=TRAIN, test=TEST, shape=(0, 0, 0), digest="0", task=facts
        ),
        1,
    )
    trials = [trial for configuration in chosen for trial in trials_of(configuration)]
    for trial in trials:
        recipe.say(ev.Planned(plan=make_plan(trial, TRAIN, 1)))
    recipe.memory()
    for trial in trials if done else trials[:1]:
        recipe.start(trial)
        records = tuple(_record(recipe, trial, epoch, metrics) for epoch in range(1, EPOCHS + 1))
        recipe.say(ev.EpochsFinished(trial=trial.id, attempt=1, records=records), 1.0)
        recipe.end(trial)
    if done:
        recipe.close("finished", len(trials), len(trials))
    return recipe.folder


def mixed_sweep(home: Path) -> Path:
    """Write a finished sweep over two tasks without a common metric, and return its folder."""
    recipe = Recipe(home, "20270115-080000-mixed")
    recipe.claims, recipe.layers = (), LAYERS
    chosen, known = [], {"absolute": (("mae", "lower"),), "ranked": (("r2", "higher"),)}
    for kind in known:
        task = TaskTable(use="mine:make", arguments=(("kind", kind),))
        for each in task_configurations((8, 128), 3):
            settings = msgspec.structs.replace(each.settings, data=Data(name=task.name), task=task)
            size = each.settings.train.batch_size
            chosen.append(
                msgspec.structs.replace(
                    each, id=f"b{size}-{kind}", label=f"{size}, kind {kind}", settings=settings
                )
            )
    recipe.open(tuple(chosen), "My own networks", "Which error?")
    for each in chosen[::2]:
        assert each.settings.task
        kind = str(dict(each.settings.task.arguments)["kind"])
        facts = TaskFacts(train=TRAIN, test=TEST, weights=385, metrics=known[kind])
        name = each.settings.data.name
        recipe.say(
            ev.DataReady(name=name, train=TRAIN, test=TEST, shape=(0, 0, 0), digest="0", task=facts)
        )
    for each in chosen:
        metrics = known[each.id.partition("-")[2]]
        for trial in trials_of(each):
            recipe.start(trial)
            records = tuple(
                _record(recipe, trial, epoch, metrics) for epoch in range(1, EPOCHS + 1)
            )
            recipe.say(ev.EpochsFinished(trial=trial.id, attempt=1, records=records), 1.0)
            recipe.end(trial)
    recipe.close("finished", 12, 12)
    return recipe.folder


def value_of(trial: Trial, epoch: int, part: str, better: str) -> float:
    """Return a simulated metric: one that falls ends lower for small batches."""
    record = record_of(trial, epoch)
    reached = record.train_accuracy if part == "train" else record.test_accuracy
    assert reached is not None
    return reached if better == "higher" else 2 - reached


def _record(
    recipe: Recipe, trial: Trial, epoch: int, metrics: tuple[tuple[str, str], ...]
) -> ev.EpochRecord:
    named = {
        f"{part}_{name}": value_of(trial, epoch, part, better)
        for name, better in metrics
        if name != "accuracy"
        for part in ("train", "test")
    }
    own = {} if "accuracy" in dict(metrics) else {"train_accuracy": None, "test_accuracy": None}
    by_layer = recipe._by_layer(trial, epoch)
    return msgspec.structs.replace(record_of(trial, epoch), metrics=named, **own, **by_layer)
