"""The table of memory: which rows there are, and which of them are chosen."""

import msgspec

from batchscope.engine.analysis.tables import Row
from batchscope.engine.export.memory_table import MEMORY_COLUMNS, memory_rows
from batchscope.engine.journal.events import MicroBatchCut
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.planning.micro_batch import Shape
from batchscope.engine.spec import Configuration, Memory
from tests.unit.engine.export.memory_fixtures import SHAPES, measured, planned
from tests.unit.training_fixtures import configuration, epochs, opened, record, started

FAILED = Shape(500, failed="out of memory")


def named(of: Configuration, size: int) -> Configuration:
    memory = Memory(micro_batch_size=size)
    return msgspec.structs.replace(of, settings=msgspec.structs.replace(of.settings, memory=memory))


def rows(*events: object, of: list[Configuration]) -> list[Row]:
    state = SweepState().fold([*opened(of), *events])  # type: ignore[list-item]
    found = list(memory_rows(state))
    assert all(set(row) <= set(MEMORY_COLUMNS) for row in found)
    return found


def picked(found: list[Row]) -> list[tuple[object, object]]:
    return [(row["batch_size"], row["micro_batch_size"]) for row in found if row["chosen"]]


def test_a_row_for_each_shape_with_the_chosen_one_and_its_reason() -> None:
    of = configuration(500, seeds=3)
    found = measured(of, *SHAPES, FAILED)
    plans = [planned(of, found, seed) for seed in range(3)]
    common = {
        "device": "cpu",
        "model": "mlp",
        "batch_size": 500,
        "trial": "b500-s0",
        "limit_bytes": 1000,
        "precision": "fp32",
    }
    reason = plans[0].plan.reason
    assert reason == "500 = 4 × 120 + 20: the whole batch at once ran out of memory"
    figures = [
        (8, 100, 50.0, True, False, ""),
        (120, 900, 70.0, True, True, reason),
        (130, 901, 60.0, False, False, ""),
        (500, None, None, False, False, "out of memory"),
    ]
    keys = ("micro_batch_size", "peak_memory_bytes", "samples_per_second", "fits", "chosen")
    assert rows(found, *plans, of=[of]) == [
        {**common, **dict(zip((*keys, "reason"), values, strict=True))} for values in figures
    ]


def test_before_there_is_a_plan_nothing_is_chosen() -> None:
    of = configuration(500)
    found = rows(measured(of, *SHAPES), of=[of])
    assert [row["micro_batch_size"] for row in found] == [8, 120, 130]
    assert picked(found) == []


def test_configurations_that_are_alike_have_one_table() -> None:
    of = [configuration(500, seeds=2), configuration(500, name="raised", lr=0.9)]
    found = measured(of[0], *SHAPES)
    events = [found, planned(of[0], found), planned(of[0], found, 1), planned(of[1], found)]
    begun = [started(of[0]), started(of[0], 1), started(of[1])]
    assert picked(rows(*events, *begun, of=of)) == [(500, 120)]


def test_each_batch_size_has_its_own() -> None:
    of = [configuration(64), configuration(500)]
    small, large = measured(of[0], Shape(64, 700, 5.0)), measured(of[1], *SHAPES)
    events = [small, large, planned(of[0], small), planned(of[1], large)]
    assert picked(rows(*events, of=of)) == [(64, 64), (500, 120)]


def test_plans_that_were_given_are_told_as_they_went() -> None:
    """Named by the preset, or recorded in an exported one: then nothing is measured."""
    of = [named(configuration(500, seeds=2), 200), configuration(64), configuration(128)]
    events = [planned(one, None) for one in of]
    peaks = [msgspec.structs.replace(record(n), peak_memory_bytes=n * 10) for n in (2, 1)]
    went = [started(of[0]), epochs(of[0], *reversed(peaks)), started(of[1])]
    found = rows(*events, *went, of=of)
    assert picked(found) == [(500, 200), (64, 64)]
    assert [row["peak_memory_bytes"] for row in found] == [20, None]
    assert found[0]["reason"] == "500 = 2 × 200 + 100, as the preset says"
    assert found[1]["reason"] == "the whole batch at once"
    assert {row["fits"] for row in found} == {True}
    assert not any("limit_bytes" in row for row in found)


def test_a_named_size_is_told_beside_what_was_measured_of_its_kind() -> None:
    of = [configuration(500), named(configuration(500, name="named"), 50)]
    found = measured(of[0], *SHAPES)
    events = [found, planned(of[0], found), planned(of[1], None), started(of[0]), started(of[1])]
    assert picked(rows(*events, of=of)) == [(500, 120), (500, 50)]


def test_a_cut_leaves_the_table_of_what_was_planned() -> None:
    of = configuration(500)
    found = measured(of, *SHAPES)
    cut = MicroBatchCut(trial="b500-s0", attempt=1, steps=3, size=60)
    assert picked(rows(found, planned(of, found), started(of), cut, of=[of])) == [(500, 120)]


def test_rows_are_in_the_order_of_the_trials_whichever_was_measured_first() -> None:
    small, large = configuration(120), configuration(500)
    first, second = measured(small, *SHAPES), measured(large, *SHAPES)
    plans = [planned(small, first), planned(large, second)]
    found = rows(second, first, *plans, of=[small, large])
    assert found == rows(first, second, *plans, of=[small, large])
    assert [row["trial"] for row in found] == ["b120-s0"] * 3 + ["b500-s0"] * 3
