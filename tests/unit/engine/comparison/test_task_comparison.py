"""Two sweeps of tasks are compared by a metric that both have, against scipy and by hand."""

import pytest
from scipy import stats

from batchscope.engine.comparison.comparison import Comparison, compare
from batchscope.engine.comparison.plot import drawn
from batchscope.engine.comparison.sources import Opened
from batchscope.engine.spec import Configuration
from batchscope.tui.cli.compare import lines
from tests.unit.engine.comparison_fixtures import side
from tests.unit.engine.findings_fixtures import configuration
from tests.unit.engine.task_fixtures import MAE, ended, of_task

HIGH, LOW = (0.60, 0.61, 0.59), (0.51, 0.505, 0.49)


def sides(one: Configuration, other: Configuration, metrics: tuple[str, str]) -> list[Opened]:
    return [
        side((one, ended(metrics[0], HIGH))),
        side((other, ended(metrics[1], LOW)), id="b"),
    ]


def told(of: Comparison) -> str:
    return " ".join(" ".join(lines(of, 120)).split())


def test_a_metric_that_falls_is_compared_with_its_direction() -> None:
    of = compare(*sides(of_task(), of_task(), ("test_mae", "test_mae")))
    metric, (row,) = of.primary_metric, of.rows
    assert (metric.measure, metric.better, metric.unit) == ("test_mae", "lower", "")
    found, wanted = row.primary_metric, stats.ttest_rel(LOW, HIGH)
    assert (found.method, found.n, found.verdict) == ("paired t", 3, "lower")
    assert found.p == pytest.approx(wanted.pvalue)
    assert found.difference == pytest.approx(sum(LOW) / 3 - sum(HIGH) / 3)
    assert (row.test_accuracy.a, row.test_accuracy.difference) == (None, None)
    text = told(of)
    assert "test mae (lower is better)" in text
    assert "▼ lower (better) in 1 of 1" in text
    assert "0.6000 0.5017 −0.0983" in text
    assert "%" not in text.replace("95 %", "")


def test_an_accuracy_of_a_task_is_compared_as_that_of_a_network() -> None:
    one = of_task(metrics=(("accuracy", "higher"), *MAE))
    a, b = (side((one, values), id=id) for id, values in (("a", LOW), ("b", HIGH)))
    of = compare(a, b)
    assert of.primary_metric.measure == "test_accuracy"
    assert of.rows[0].primary_metric == of.rows[0].test_accuracy
    assert "▲ higher in 1" in told(of)


def test_sweeps_with_different_metrics_are_compared_by_their_losses_and_say_so() -> None:
    other = of_task(metrics=(("rmse", "lower"),))
    of = compare(*sides(of_task(), other, ("test_mae", "test_rmse")))
    assert of.primary_metric.measure == "test_loss"
    assert of.rows[0].primary_metric.difference == pytest.approx(
        2 * sum(LOW) / 3 - 2 * sum(HIGH) / 3
    )
    (remark,) = (each for each in of.remarks if "rmse" in each)
    assert "test mae" in remark
    assert "test loss" in remark


def test_a_metric_with_two_directions_has_a_remark() -> None:
    other = of_task(metrics=(("mae", "higher"),))
    of = compare(*sides(of_task(), other, ("test_mae", "test_mae")))
    assert any("A says that lower is better" in each for each in of.remarks)


def test_a_task_and_a_network_are_compared_by_their_losses_and_not_judged() -> None:
    a = side((of_task(), ended("test_mae", HIGH)))
    of = compare(a, side((configuration(), (0.9, 0.91, 0.92)), id="b"))
    assert of.primary_metric.measure == "test_loss"
    assert of.rows[0].primary_metric.verdict == "not judged"
    assert of.rows[0].primary_metric.difference is not None
    assert any("not judged" in each for each in of.remarks)


def test_other_code_is_judged_with_a_remark_and_other_samples_are_not() -> None:
    one, other = (
        of_task(digests=(("mine.py", digest), ("data.py", "d"))) for digest in ("one", "other")
    )
    of = compare(*sides(one, other, ("test_mae", "test_mae")))
    assert of.rows[0].primary_metric.verdict == "lower"
    (remark,) = (each for each in of.remarks if "code" in each)
    assert "mine.py" in remark
    assert "data.py" not in remark
    fewer = compare(*sides(one, of_task(test=10), ("test_mae", "test_mae")))
    assert fewer.rows[0].primary_metric.verdict == "not judged"
    assert not any("code" in each for each in fewer.remarks)
    assert any("samples differ" in each for each in fewer.remarks)


def test_another_function_may_bring_other_data() -> None:
    of = compare(*sides(of_task(), of_task(use="mine:other"), ("test_mae", "test_mae")))
    assert of.rows[0].primary_metric.verdict == "not judged"


@pytest.mark.parametrize("factor", [1e-6, 1.0, 300.0, 1e9])
@pytest.mark.parametrize("columns", [80, 120])
def test_values_of_any_size_are_aligned_and_fit(factor: float, columns: int) -> None:
    a, b = (
        side(
            *(
                (of_task(size), ended("test_mae", [factor * scale * each for each in values]))
                for size, scale in ((8, 1.0), (1024, 0.5))
            ),
            id=id,
        )
        for id, values in (("a", HIGH), ("b", LOW))
    )
    rows = list(lines(compare(a, b), columns))
    assert max(map(len, rows)) <= columns
    (head,) = (at for at, line in enumerate(rows) if " B − A  interval" in line)
    end = rows[head].index("B − A") + len("B − A")
    for line in rows[head + 1 : head + 3]:
        assert line[:end].split()[-1].startswith("−")
        assert line[end] == " "


def test_the_figure_names_metric_and_direction() -> None:
    of = compare(*sides(of_task(), of_task(), ("test_mae", "test_mae")))
    picture = drawn(of, "svg").decode()
    assert "test mae, B − A (lower is better)" in picture
    assert "accuracy" not in picture
