"""`batchscope list` fits the terminal: ids whole, results and titles as far as there is room."""

import pytest
from rich.cells import cell_len

from batchscope.engine.sweeps.listing import StoredSweep
from batchscope.tui.cli.sweep_table import HEADINGS, plain_lines, table_lines


def stored(name: str, **more: object) -> StoredSweep:
    facts = {"preset": "p", "state": "finished", "trials": 24, "finished": 24, "seconds": 1.0}
    return StoredSweep(id=name, **{**facts, "title": f"Title of {name}", "folder": "", **more})  # type: ignore[arg-type]


FINISHED = stored("20270115-080000-quickstart", metric="test_accuracy", best=0.971, worst=0.902)
RUNNING = stored("20270115-080001-learning-rates", state="running", finished=3, trials=1200)
WIDE = stored("20270115-080002-x", title="批" * 60)
BROKEN = stored("20270115-080003-y", state="damaged", problem="journal.jsonl has 3 damaged lines")
ALL = [BROKEN, WIDE, RUNNING, FINISHED]


@pytest.mark.parametrize("width", [4, 12, 30, 50, 60, 72, 80, 100, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    lines = table_lines(ALL, width)
    assert max(map(cell_len, lines)) <= width
    if width >= len(RUNNING.id):
        assert all(any(line.startswith(each.id) for line in lines) for each in ALL)


def test_what_there_is_room_for() -> None:
    broad, usual, narrow = (table_lines(ALL, width) for width in (140, 80, 62))
    assert broad[0].split() == list(HEADINGS)
    assert "test accuracy 97.10 to 90.20 %" in broad[-1]
    assert FINISHED.title in broad[-1]
    assert "97.1–90.2 %" in usual[-1]
    assert narrow[0].split() == ["ID", "state", "trials", "title"]
    assert "3/1200" in narrow[-2]


def test_columns_stand_under_their_headings() -> None:
    lines = table_lines([RUNNING, FINISHED], 120)
    for name, text in (("state", "finished"), ("trials", "24/24"), ("title", "Title of")):
        assert lines[-1].index(text) == lines[0].index(name)


def test_damage_is_told_whole_on_lines_of_its_own() -> None:
    lines = table_lines([BROKEN], 30)
    assert " ".join(" ".join(lines[2:]).split()) == f"! {BROKEN.problem}"


def test_a_pipe_gets_a_line_a_sweep() -> None:
    lines = plain_lines(ALL)
    assert len(lines) == len(ALL)
    assert lines[0].endswith(f"[{BROKEN.problem}]")
    assert all(each.title in line for each, line in zip(ALL, lines, strict=True))
    assert table_lines([], 80) == plain_lines([]) == []
