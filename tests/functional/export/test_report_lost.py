"""An export whose report process is killed, or stands still: the tables are there, with a word."""

import os
import signal
import threading
from pathlib import Path

import psutil
import pytest

from batchscope.engine.errors import MachineProblem
from batchscope.engine.export import report_process
from batchscope.engine.export.bundle import write_export
from tests.functional.export.export_folder import content, neighbours
from tests.functional.lab import copy_of_recorded, until


def renderers() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children()
        if "batchscope.engine.export.report.render" in child.cmdline()
    ]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGKILL, "killed by signal 9"),
        (signal.SIGSTOP, "its process stood still for 1 s"),
    ],
)
def test_the_tables_are_written_without_it(
    number: signal.Signals, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_process, "STILL_SECONDS", 1.0)
    lab = copy_of_recorded(tmp_path / "lab")
    (tmp_path / "place").mkdir()
    target, said = tmp_path / "place" / "out", list[str]()

    def export() -> None:
        try:
            write_export(lab.only_folder(), target)
        except MachineProblem as problem:
            said.append(str(problem))

    exporting = threading.Thread(target=export)
    exporting.start()
    until(lambda: bool(renderers()), "the report is drawn")
    until(lambda: any((tmp_path / "place").glob(".*/figures/*")), "a figure is there")
    os.kill(renderers()[0].pid, number)
    exporting.join(60)
    (why,) = said
    assert f"the tables are written, but the report could not be drawn: {words}" in why
    assert not renderers()
    assert neighbours(target) == ["out"]
    bare = content(target)
    write_export(lab.only_folder(), target, report=False)
    again = content(target)
    assert set(bare) == set(again)
    assert all(bare[name] == again[name] for name in again if name.endswith(".csv"))
    write_export(lab.only_folder(), target)
    assert (target / "report.html").is_file()
