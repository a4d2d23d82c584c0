"""The text of a comparison: the content of its tables, and that it fits the terminal."""

import re

import pytest
from rich.cells import cell_len

from batchscope.engine.comparison.comparison import Comparison, compare
from batchscope.engine.comparison.plot import MOST_ROWS, drawn, title
from batchscope.tui.cli.compare import lines
from tests.unit.engine.comparison_fixtures import ONE, OTHER, aimed, images, side
from tests.unit.engine.findings_fixtures import Ended, configuration

LONG = "512, a raised rate and a very long label"


def told(of: Comparison, columns: int = 80) -> list[str]:
    return list(lines(of, columns))


def crowded() -> Comparison:
    """Rows of every kind: told apart, not told apart, with one seed, with nothing."""
    a = side(
        (configuration(8), (0.90, 0.91, 0.94)),
        (configuration(64, lr=0.2), (0.80, 0.81, 0.82)),
        (configuration(512, label=LONG), (0.7, Ended(status="diverged"), 0.72)),
        (configuration(1024), ()),
    )
    b = side(
        (configuration(8, optimizer="adam"), (0.95, 0.951, 0.97)),
        (configuration(64, optimizer="adam"), (0.2, 0.86, 0.99)),
        (configuration(512, optimizer="adam", label=LONG), (0.1, 0.2)),
        (configuration(1024, optimizer="adam"), (0.5,)),
        id="b",
    )
    return compare(a, b)


@pytest.mark.parametrize("columns", [20, 80, 100, 120, 300])
def test_the_lines_fit_the_terminal(columns: int) -> None:
    for line in told(crowded(), columns):
        assert cell_len(line) <= min(120, max(80, columns)), line


def test_columns_are_aligned_with_their_heads() -> None:
    rows = told(crowded(), 120)
    (head,) = (at for at, line in enumerate(rows) if " B − A  interval" in line)
    end = rows[head].index("B − A") + len("B − A")
    figures = [line for line in rows[head + 1 :] if re.match(r"(8|64|512|1024)\b.* \d  ", line)]
    assert len(figures) == 4
    assert [line[:end].split()[-1] for line in figures[:3]] == ["+4.03", "−12.67", "−60.00"]


def test_the_drawing_of_an_interval() -> None:
    a, b = side((configuration(), ONE)), side((configuration(), OTHER), id="b")
    rows = told(compare(a, b), 120)
    (at,) = (at for at, line in enumerate(rows) if "●" in line)
    drawn, above = rows[at], rows[at - 1]
    assert drawn.index("├") < drawn.index("┼") < drawn.index("●") < drawn.index("┤")
    assert drawn.index("┼") == above.rindex(" 0 ") + 1
    low, high = (float(each.replace("−", "-")) for each in re.findall(r"[+−]\d\.\d\d", drawn)[1:3])
    share = (drawn.index("┼") - drawn.index("├")) / (drawn.index("┤") - drawn.index("├"))
    assert share == pytest.approx(-low / (high - low), abs=0.02)


def test_the_notes_of_a_row() -> None:
    text = "\n".join(told(crowded()))
    assert "  train.lr: 0.2 → 0.1\n" in text
    assert "1 trial of A left out" in text
    assert re.search(r"^512, a raised.*…  .* one seed", text, re.MULTILINE)
    assert "B is ▲ higher in 1, ▼ lower in 0 of 2 (level 0.05, adjusted by Holm)" in text


def test_without_judged_rows_nothing_is_counted() -> None:
    a, b = side(aimed((10, 20, 30))), images(side(aimed((5, 0, 20)), id="b"), "another")
    text = "\n".join(told(compare(a, b)))
    assert "B is" not in text
    assert "settings, versions and machine are the same" in text
    assert re.search(r"^8  20 → 1 missed it +–$", text, re.MULTILINE)
    assert "not judged" in " ".join(text.split())


def test_times_of_stacks_are_marked() -> None:
    whole, half = {"peak_memory_bytes": 2048}, {"peak_memory_bytes": 1024}
    a = side((configuration(), [Ended(0.9, figures=whole, stacked=3)] * 3))
    b = side((configuration(), [Ended(0.9, figures={"seconds": 1.0, **half})] * 3), id="b")
    text = "\n".join(told(compare(a, b)))
    assert "2.00 s×3 → 1.00 s  ×0.500!" in text
    assert "2.00 KiB×3 → 1.00 KiB  ×0.500!" in text
    assert "(marked !) cannot be compared" in " ".join(text.split())


def test_a_figure_of_many_rows_names_their_number() -> None:
    values = [(configuration(size), (0.5, 0.6)) for size in range(1, MOST_ROWS + 2)]
    few, many = (compare(side(*part), side(*part, id="b")) for part in (values[:-1], values))
    assert "of 41 configurations" not in title(few)
    assert title(many).endswith("the first 40 of 41 configurations")


def test_the_figure_has_complete_labels() -> None:
    long = "1024, rule linear, warmup_epochs 0"
    a = side((configuration(label=long), ONE))
    b = side((configuration(label=long), OTHER), id="b")
    assert long in drawn(compare(a, b), "svg").decode()
