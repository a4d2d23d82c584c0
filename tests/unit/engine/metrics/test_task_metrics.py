import math

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from batchscope.engine.analysis.tables import epoch_columns, epoch_rows, trial_columns, trial_rows
from batchscope.engine.journal import events as ev
from batchscope.engine.journal.epoch_columns import Records
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.registry import value_of
from batchscope.engine.metrics.task_metrics import is_task_metric, task_better
from batchscope.engine.spec import Configuration, Data, Model, Settings, Train
from batchscope.engine.task_table import TaskFacts, TaskTable

FACTS = TaskFacts(train=10, test=4, metrics=(("mae", "lower"), ("accuracy", "higher")))


def record(epoch: int, metrics: dict[str, float]) -> ev.EpochRecord:
    return ev.EpochRecord(
        epoch=epoch,
        steps=epoch,
        samples=epoch,
        lr=0.1,
        train_loss=1.0,
        train_accuracy=None,
        test_loss=1.0,
        test_accuracy=None,
        seconds=1.0,
        epoch_samples=1,
        weight_norm=1.0,
        distance_from_init=0.0,
        norms=(),
        metrics=metrics,
    )


METRICS = st.dictionaries(
    st.sampled_from(["test_mae", "train_mae", "test_f"]), st.floats(allow_nan=False), max_size=3
)


@given(st.lists(METRICS, max_size=6), st.integers(0, 6))
def test_records_keep_metrics_that_come_and_go(metrics: list[dict[str, float]], cut: int) -> None:
    made = [record(epoch, each) for epoch, each in enumerate(metrics, start=1)]
    records = Records(made[:cut])
    records.extend(made[cut:])
    assert list(records) == made
    for name in ("test_mae", "test_f", "unknown"):
        expected = [each.get(name, math.nan) for each in metrics]
        assert [repr(value) for value in records.named(name)] == [repr(x) for x in expected]
    records.keep(cut)
    assert list(records) == made[:cut]


def state() -> SweepState:
    table = TaskTable(use="mine:make")
    settings = Settings(
        data=Data(name=table.name),
        model=Model(name="task"),
        train=Train(batch_size=2, lr=0.1, epochs=2),
        task=table,
    )
    of = Configuration(id="b2", label="2", settings=settings, seeds=(0,))
    return SweepState().fold(
        [
            ev.SweepOpened(
                id="s", preset="p", title="", question="", source="", configurations=(of,)
            ),
            ev.DataReady(name=table.name, train=10, test=4, shape=(0, 0, 0), digest="", task=FACTS),
            ev.TrialStarted(
                trial="b2-s0",
                attempt=1,
                worker=0,
                device="cpu",
                batch_size=2,
                micro_batch_size=2,
                total_steps=10,
                steps_per_epoch=5,
                parameters=1,
                init_norm=1.0,
                lr=0.1,
            ),
            ev.EpochsFinished(
                trial="b2-s0",
                attempt=1,
                records=(record(1, {"test_mae": 0.5}), record(2, {"test_mae": 0.25})),
            ),
            ev.TrialEnded(trial="b2-s0", attempt=1, status="finished"),
        ]
    )


def test_a_metric_of_a_task_has_columns_and_is_a_measure() -> None:
    of = state()
    added = ("train_mae", "test_mae", "validation_mae")
    assert epoch_columns(of)[-3:] == trial_columns(of)[-3:] == added
    assert epoch_columns(of)[-4] == trial_columns(of)[-4] == "empty_batches"
    assert [row["empty_batches"] for row in (*epoch_rows(of), *trial_rows(of))] == [0, 0, 0]
    assert [row["test_mae"] for row in epoch_rows(of)] == [0.5, 0.25]
    assert [row["test_mae"] for row in trial_rows(of)] == [0.25]
    assert [row["validation_mae"] for row in trial_rows(of)] == [None]
    trial = of.trials["b2-s0"]
    assert value_of(of, trial, "test_mae") == 0.25
    assert value_of(of, trial, "test_rmse") is None
    assert task_better(of, "test_mae") == "lower"


def test_the_facts_of_a_task_reach_its_settings() -> None:
    of = state()
    assert of.trials["b2-s0"].settings.task == TaskTable(use="mine:make", facts=FACTS)
    assert of.configurations["b2"].settings.task == of.trials["b2-s0"].settings.task


def test_an_old_record_has_no_metrics() -> None:
    encoded = msgspec.json.encode(record(1, {}))
    assert b"metrics" not in encoded
    assert msgspec.json.decode(encoded, type=ev.EpochRecord).metrics == {}


def test_names_of_metrics() -> None:
    assert all(map(is_task_metric, ("test_mae", "train_f1", "validation_top_5")))
    assert not any(map(is_task_metric, ("mae", "test_", "test_1", "probe_mae", "test_a b")))
