"""The plan of memory in a report: by batch size, and in the looks of the other figures."""

from pathlib import Path

from batchscope.engine.analysis.tables import to_csv
from batchscope.engine.export import plot_style
from batchscope.engine.export.export_reader import (
    Exported,
    ExportedFigures,
    ExportedFindings,
    Number,
)
from batchscope.engine.export.figures import memory
from batchscope.engine.export.figures.common import Cast
from batchscope.engine.export.memory_table import MEMORY_COLUMNS, memory_rows
from batchscope.engine.export.report.tables import memory_plan
from batchscope.engine.journal.sweep_state import SweepState
from tests.unit.engine.export.memory_fixtures import SHAPES, measured, planned
from tests.unit.training_fixtures import configuration, opened, started

SIZES = (8, 64, 512)


def measured_large_first() -> SweepState:
    made = [configuration(size) for size in SIZES]
    events = opened(made)
    for of in reversed(made):
        found = measured(of, *SHAPES)
        events += [found, planned(of, found), started(of)]
    return SweepState().fold(events)


def test_curves_rise_with_the_batch_size_in_the_looks_of_their_configurations() -> None:
    state = measured_large_first()
    cast = Cast(
        state, ExportedFindings((), "", ExportedFigures()), tuple(f"b{size}" for size in SIZES)
    )
    with plot_style.styled("key"):
        (found,) = memory.pictures(cast)
    box = found.figure.legends[0]
    assert [text.get_text() for text in box.get_texts()] == ["8", "64", "512"]
    lines = [line for line in found.figure.axes[0].lines if line.get_linestyle() != "None"][:3]
    looks = [(line.get_color(), line.get_marker()) for line in lines]
    assert looks == [cast.look(name)[:2] for name in cast.names]


def test_what_is_drawn_nowhere_else_has_a_look_of_its_own() -> None:
    state = measured_large_first()
    cast = Cast(state, ExportedFindings((), "", ExportedFigures()), ("b64",))
    with plot_style.styled("key"):
        (found,) = memory.pictures(cast)
    lines = [line for line in found.figure.axes[0].lines if line.get_linestyle() != "None"][:3]
    colours = [line.get_color() for line in lines]
    assert colours[1] == cast.look("b64").colour
    assert len(set(colours)) == 3


def test_the_table_is_in_the_order_of_the_batch_sizes(tmp_path: Path) -> None:
    text = to_csv(MEMORY_COLUMNS, memory_rows(measured_large_first()))
    (tmp_path / "memory.csv").write_text(text)
    sizes = [row[1] for row in memory_plan(Exported(tmp_path)).rows]
    assert [each.shown for each in sizes if isinstance(each, Number)] == ["8", "64", "512"]
