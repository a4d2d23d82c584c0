"""Code of a task that has changed since a sweep began: refused by name, or accepted and marked."""

import csv
import hashlib
from pathlib import Path

import pytest
from msgspec.structs import replace

from batchscope.engine.analysis.tables import to_csv, trial_columns, trial_rows
from batchscope.engine.data.prepared import Prepared
from batchscope.engine.journal import events as ev
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.orchestration.data_fetch import prepared
from batchscope.engine.spec import Configuration, Data, Model, Settings, Train
from batchscope.engine.task_table import TaskFacts, TaskTable
from batchscope.engine.tasks.code_digests import CodeRefused

TABLE = TaskTable(use="mine:make")
KNOWN = TaskFacts(train=10, test=4, weights=3, digests=(("mine.py", "1"), ("utils.py", "2")))


def ready(facts: TaskFacts) -> ev.DataReady:
    return ev.DataReady(
        name=TABLE.name, train=10, test=4, shape=(0, 0, 0), digest="before", task=facts
    )


async def again(
    folder: Path, found: TaskFacts, known: TaskFacts = KNOWN, accepts: bool = False
) -> tuple[Prepared, list[ev.AnyEvent]]:
    """Prepare a task whose first run shows `found`, where the journal has `known`."""
    events: list[ev.AnyEvent] = []

    async def inspected() -> Prepared:
        return Prepared(
            name=TABLE.name,
            folder=str(folder),
            train=found.train,
            test=found.test,
            shape=(0, 0, 0),
            classes=0,
            digest="now",
            task=found,
        )

    data = await prepared(TABLE.name, inspected(), ready(known), events.append, accepts)
    return data, events


async def test_the_same_code_keeps_what_the_journal_knows(tmp_path: Path) -> None:
    data, events = await again(tmp_path, replace(KNOWN, sample_seconds=9.0))
    assert data.task == KNOWN
    assert events == []


async def test_changed_code_is_refused_by_the_names_of_its_files(tmp_path: Path) -> None:
    found = replace(KNOWN, digests=(("mine.py", "1"), ("new.py", "7"), ("utils.py", "changed")))
    with pytest.raises(CodeRefused, match=r"utils\.py.*--accept-code") as caught:
        await again(tmp_path, found)
    assert caught.value.files == ("utils.py",)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(("content", "same"), [(b"late", True), (b"other", False), (None, False)])
async def test_a_module_that_is_imported_late_is_compared_at_the_start(
    tmp_path: Path, content: bytes | None, same: bool
) -> None:
    if content is not None:
        (tmp_path / "late.py").write_bytes(content)
    late = ("late.py", hashlib.sha256(b"late").hexdigest())
    known = replace(KNOWN, digests=(late, *KNOWN.digests))
    if same:
        assert (await again(tmp_path, KNOWN, known))[0].task == known
        return
    with pytest.raises(CodeRefused, match=r"late\.py"):
        await again(tmp_path, KNOWN, known)


async def test_accepted_code_is_written_with_the_names_of_its_files(tmp_path: Path) -> None:
    found = replace(KNOWN, digests=(("mine.py", "1"), ("utils.py", "changed")))
    data, events = await again(tmp_path, found, accepts=True)
    assert data.task == replace(found, accepted=("utils.py",))
    (event,) = events
    assert isinstance(event, ev.DataReady)
    assert event.task == data.task
    once_more, events = await again(tmp_path, found, data.task or KNOWN)
    assert once_more.task == data.task
    assert events == []


@pytest.mark.parametrize(
    ("key", "word"),
    [("train", "training samples"), ("weights", "weights"), ("metrics", "metrics")],
)
async def test_accepted_code_that_makes_another_experiment_is_refused(
    tmp_path: Path, key: str, word: str
) -> None:
    more = {key: (("f1", "higher"),) if key == "metrics" else 11}
    found = replace(KNOWN, digests=(("mine.py", "9"), ("utils.py", "2")), **more)
    with pytest.raises(CodeRefused, match=word):
        await again(tmp_path, found, accepts=True)


def started(trial: str, attempt: int = 1, resumed: int | None = None) -> ev.TrialStarted:
    return ev.TrialStarted(
        trial=trial,
        attempt=attempt,
        worker=0,
        device="cpu",
        batch_size=2,
        micro_batch_size=2,
        total_steps=10,
        steps_per_epoch=5,
        parameters=1,
        init_norm=1.0,
        lr=0.1,
        resumed_steps=resumed,
    )


def sweep(*events: ev.AnyEvent) -> SweepState:
    settings = Settings(
        data=Data(name=TABLE.name),
        model=Model(name="task"),
        train=Train(batch_size=2, lr=0.1, epochs=2),
        task=TABLE,
    )
    of = Configuration(id="b2", label="2", settings=settings, seeds=(0, 1, 2, 3))
    opened = ev.SweepOpened(
        id="s", preset="p", title="", question="", source="", configurations=(of,)
    )
    return SweepState().fold([opened, ready(KNOWN), *events])


def test_trials_that_train_with_accepted_code_are_marked() -> None:
    state = sweep(
        started("b2-s0"),
        ev.TrialEnded(trial="b2-s0", attempt=1, status="finished"),
        started("b2-s1"),
        ready(replace(KNOWN, accepted=("utils.py",))),
        started("b2-s1", attempt=2, resumed=3),
        started("b2-s2"),
    )
    marked = {name for name, trial in state.trials.items() if trial.accepted_code}
    assert marked == {"b2-s1", "b2-s2"}
    warnings = [line.text for line in state.log if line.level == "warning"]
    assert len(warnings) == 1
    assert "utils.py" in warnings[0]
    rows = csv.DictReader(to_csv(trial_columns(state), trial_rows(state)).splitlines())
    assert {row["trial"]: row["accepted_code"] for row in rows} == {
        "b2-s0": "false",
        "b2-s1": "true",
        "b2-s2": "true",
        "b2-s3": "",
    }


def test_modules_that_are_imported_late_are_added_once() -> None:
    late = ev.CodeLoaded(name=TABLE.name, digests=(("late.py", "3"), ("mine.py", "other")))
    state = sweep(late, late)
    facts = state.data[TABLE.name].task
    assert facts
    assert facts.digests == (("late.py", "3"), ("mine.py", "1"), ("utils.py", "2"))
    task = state.trials["b2-s0"].settings.task
    assert task
    assert task.facts == facts
    assert sweep(ev.CodeLoaded(name="unknown", digests=())).strange == 0


def test_a_table_says_that_the_preset_does_not_name_the_optimizer() -> None:
    for own in (False, True):
        state = sweep(ready(replace(KNOWN, own_optimizer=own)), started("b2-s0"))
        rows = csv.DictReader(to_csv(trial_columns(state), trial_rows(state)).splitlines())
        assert {row["own_optimizer"] for row in rows} == {str(own).lower()}
