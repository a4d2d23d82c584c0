"""Findings, tables, figures and summary of a task: by its own metric, and which way is better."""

import json
from pathlib import Path

import pytest

from batchscope.engine.export import tensorboard
from batchscope.engine.export.bundle import write_export
from batchscope.engine.export.export_reader import Exported
from batchscope.engine.export.figures.curves import drawn
from batchscope.engine.export.figures.sizes import plotted
from batchscope.engine.export.report.content import report_of
from batchscope.engine.export.report.tables import tables, trials
from batchscope.engine.findings.comparison_sides import gather
from batchscope.engine.findings.pareto import pareto
from batchscope.engine.findings.recommendation import non_inferior, recommended
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.sweeps.store import load_state
from batchscope.tui.headless.summary import summary, summary_text
from tests.functional.board.task_sweeps import MAE, task_sweep
from tests.functional.board_fixtures import home

__all__ = ["home"]


@pytest.fixture
def sweep(home: Path) -> Path:
    return task_sweep(home)


@pytest.fixture
def state(sweep: Path) -> SweepState:
    return load_state(sweep)


@pytest.mark.parametrize("metrics", [MAE, MAE[::-1], ()], ids=["falls", "rises", "loss"])
def test_the_recommendation_goes_by_the_metric_and_its_direction(
    home: Path, metrics: tuple[tuple[str, str], ...]
) -> None:
    advised = recommended(load_state(task_sweep(home, metrics)))
    if metrics:
        assert advised.configuration is not None
        assert advised.configuration.label == "8"
    else:  # half a percent of so low a loss is less than its spread
        assert advised.configuration is None
    name, better = metrics[0] if metrics else ("loss", "lower")
    assert f"test {name}" in advised.sentence
    assert f"{better} is better" in advised.sentence
    assert "accuracy" not in advised.sentence


def test_the_direction_turns_the_test_around(state: SweepState) -> None:
    sides = [gather(state, "test_mae", [each]) for each in state.configurations.values()]
    assert non_inferior(sides, 0.005, lower=True) == [True, False, False]
    assert non_inferior(sides, 0.005) == [False, False, True]


def test_the_front_goes_by_the_metric(state: SweepState) -> None:
    points = {each.label: each for each in pareto(state)}
    assert {each.measure for each in points.values()} == {"test_mae"}
    assert {each.accuracy for each in points.values()} == {None}
    # the smallest is slowest and best, the largest is fastest and worst
    assert [each.front for each in points.values()] == [True, True, True]
    assert points["8"].value.mean < points["128"].value.mean


def test_curves_and_plots_are_those_of_the_task(state: SweepState) -> None:
    curves = {each.name: each for each in drawn(state)}
    assert list(curves) == ["mae", "r2", "loss"]
    assert "lower is better" in curves["mae"].axis
    assert "higher is better" in curves["r2"].axis
    assert "%" not in curves["mae"].axis
    plots = {each.name: each for each in plotted(state)}
    assert {"test_mae", "test_r2"} <= plots.keys()
    assert plots["test_mae"].plot is not None
    assert "lower is better" in plots["test_mae"].plot.axis


def test_tables_of_the_report_have_its_columns(sweep: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    state = write_export(sweep, target, report=False)
    found = json.loads((target / "findings.json").read_bytes())
    assert found["primary_metric"] == {
        "measure": "test_mae", "title": "test mae", "unit": "", "better": "lower",
    }  # fmt: skip
    of = Exported(target)
    made = {each.key: each for each in [*tables(of), trials(of)]}
    for table in made.values():
        if table.key in ("configurations", "pareto", "trials"):
            assert "test mae (lower is better)" in table.heads
            column = table.heads.index("test mae (lower is better)")
            assert all(row[column] is not None for row in table.rows)
        assert not any("accuracy" in head or "gap" in head for head in table.heads)
    page = report_of(of, state)
    facts = {name: value for _, pairs in page.facts for name, value in pairs}
    assert "350 training and 92 test samples" in facts["mine:make(width=64)"]
    assert facts["task.use"] == '"mine:make"'
    assert not any(name.startswith(("data.", "model.")) for name in facts)
    assert not any("--data-dir" in command for command in page.again)


def test_the_summary_has_no_empty_column(sweep: Path, state: SweepState) -> None:
    of = summary(sweep, state, None)
    assert of["metric"] == {"name": "test_mae", "title": "test mae", "better": "lower"}
    assert all(row["metric_mean"] for row in of["configurations"])
    assert all(row["test_accuracy_mean"] is None for row in of["configurations"])
    text = summary_text(of)
    assert "test mae ± sd" in text
    assert "lower is better" in text
    assert f"{of['configurations'][0]['metric_mean']:.4f}" in text
    assert "accuracy" not in text


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_has_its_metrics(sweep: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra batchscope[tensorboard]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    state = write_export(sweep, tmp_path / "out", report=False, tensorboard=True)
    assert tensorboard.compared(state)[:2] == ("mae/test", "mae/train")
    assert not any("accuracy" in tag for tag in tensorboard.compared(state))
    read = EventAccumulator(str(tmp_path / "out" / "tensorboard" / "b8-s0"))
    read.Reload()
    assert {"mae/test", "mae/train", "r2/test"} <= set(read.Tags()["scalars"])
    last = state.trials["b8-s0"].last
    assert last is not None
    assert read.Scalars("mae/test")[-1].value == pytest.approx(last.metrics["test_mae"])
