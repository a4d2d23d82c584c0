import msgspec
import pytest

from batchscope.engine.journal.events import EpochRecord
from batchscope.engine.journal.headline import headline
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.primary_metric import PrimaryMetric, primary_metric, primary_of
from batchscope.engine.task_table import TaskFacts, TaskTable

RECORD = EpochRecord(
    epoch=1, steps=1, samples=1, lr=0.1, train_loss=3.0, train_accuracy=None, test_loss=4.0,
    test_accuracy=None, seconds=1.0, epoch_samples=1, weight_norm=1.0, distance_from_init=0.0,
    norms=(), metrics={"train_mae": 0.5, "test_mae": 0.75, "validation_mae": 0.25},
)  # fmt: skip


def task(*metrics: tuple[str, str], width: int = 1, **facts: int) -> TaskTable:
    of = {"train": 10, "test": 4, **facts}
    return TaskTable(
        use="mine:make",
        arguments=(("width", width),),
        facts=TaskFacts(metrics=metrics, **of),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("tasks", "measure", "better"),
    [
        ([None], "test_accuracy", "higher"),
        ([None, task(("mae", "lower"))], "test_loss", "lower"),
        ([None, task(("mae", "lower"), ("accuracy", "higher"))], "test_accuracy", "higher"),
        ([task(("mae", "lower"), ("accuracy", "higher"))], "test_accuracy", "higher"),
        ([task(("mae", "lower"), ("r2", "higher"))], "test_mae", "lower"),
        ([task(("r2", "higher"), ("mae", "lower"))], "test_r2", "higher"),
        ([task()], "test_loss", "lower"),
        ([TaskTable(use="mine:make")], "test_loss", "lower"),
        ([task(("mae", "lower"), test=0, validation=3)], "validation_mae", "lower"),
        ([task(("mae", "lower"), test=0)], "train_mae", "lower"),
        (
            [task(("mae", "lower"), ("r2", "higher")), task(("r2", "higher"), width=2)],
            "test_r2",
            "higher",
        ),
        ([task(("mae", "lower")), task(("r2", "higher"), width=2)], "test_loss", "lower"),
        ([], "test_accuracy", "higher"),
    ],
)
def test_it_is_the_accuracy_or_the_first_metric_or_the_loss(
    tasks: list[TaskTable | None], measure: str, better: str
) -> None:
    metric = primary_of(tasks)
    assert (metric.measure, metric.better) == (measure, better)


def test_a_share_of_the_training_samples_is_held_out() -> None:
    held = msgspec.structs.replace(task(("mae", "lower"), test=0), validation=0.2)
    assert primary_of([held]).measure == "validation_mae"


def test_the_direction_is_told_but_for_an_accuracy() -> None:
    assert PrimaryMetric("mae", "test", "lower").described == "test mae, lower is better"
    assert PrimaryMetric("top_5", "validation").described == ("validation top 5, higher is better")
    assert PrimaryMetric("accuracy").described == "test accuracy"
    assert primary_metric(SweepState()).unit == "%"


def test_values_are_read_from_an_epoch() -> None:
    mae = PrimaryMetric("mae", "test", "lower")
    assert (mae.of(RECORD), mae.on_training_data(RECORD)) == (0.75, 0.5)
    assert PrimaryMetric("loss", "test", "lower").of(RECORD) == 4.0
    assert PrimaryMetric("accuracy").of(RECORD) is None
    assert PrimaryMetric("r2").of(RECORD) is None


def test_an_epoch_is_told_by_the_metric_of_its_task() -> None:
    told = headline(RECORD, task(("mae", "lower")))
    assert told.text == "test mae 0.7500"
    assert told.train == 0.5
    assert headline(RECORD).text == "test loss 4.0000"
    assert headline(RECORD, task()).name == "loss"
    held = msgspec.structs.replace(RECORD, metrics={"validation_mae": 0.25})
    assert headline(held, task(("mae", "lower"))).text == "validation mae 0.2500"
    unknown = msgspec.structs.replace(RECORD, metrics={})  # such as one that is not finite
    assert headline(unknown, task(("mae", "lower"))).shown == "-"
