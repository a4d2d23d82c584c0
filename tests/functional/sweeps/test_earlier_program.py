"""What the program left behind when its packages were still called `engine` and `tui`.

`from_an_earlier_program/` was recorded by it on one core: a sweep of four trials that was stopped
within the third, and the export of the same sweep undisturbed, by

    batchscope --preset FILE --workers 1 --device cpu --no-report --export whole
"""

import json
import shutil
from pathlib import Path

import pytest

from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from tests.functional.lab import Lab, events_of
from tests.functional.sweep_fixtures import TIMES, statuses, table
from tests.terminal.terminals import Terminal

RECORDED = Path(__file__).with_name("from_an_earlier_program")
WHOLE = RECORDED / "whole"
FOLLOWING = {"noise_signal_train", "noise_scale_train"}
"""Later columns of `epochs.csv` that follow from earlier ones."""
ID = "20261130-042008-up"
STEPS = 180
"""After which the third trial was stopped."""
TABLES = ("trials.csv", "epochs.csv", "probes.csv", "gradient_norms.csv")
ELSEWHERE = (*TIMES, "attempt", "peak_memory_bytes")
"""What depends on the machine, on the version of torch, or on having been stopped."""
DIFFERENCES = ("noise_signal", "noise_scale")
"""Made of differences of nearly equal numbers, which processors round in their own ways."""
OTHER_WEIGHTS = "checkpoint.pt is passed over: it was taken with other initial weights"
"""Said where what is drawn is rounded otherwise, as without AVX2: the trial begins anew."""


@pytest.fixture
def stopped(lab: Lab) -> Path:
    """The folder of the stopped sweep in the home of a lab."""
    for folder in (lab.home, lab.home / "sweeps"):
        folder.mkdir(mode=0o700)
    return Path(shutil.copytree(RECORDED / "stopped" / ID, lab.home / "sweeps" / ID))


def same(ours: str, recorded: str, rounding: float) -> bool:
    """Whether two cells hold the same word, or numbers that differ by no more than rounding."""
    try:
        return float(ours) == pytest.approx(float(recorded), rel=rounding, abs=1e-7)
    except ValueError:
        return ours == recorded


def differing(export: Path, name: str, rounding: float) -> list[tuple[str, ...]]:
    """Rows and columns of a table of an export that are not as recorded."""
    rows, recorded = table(export, name), table(WHOLE, name)
    assert len(rows) == len(recorded) > 0
    return [
        (name, str(at), column, row[column], value)
        for at, (row, before) in enumerate(zip(rows, recorded, strict=True))
        for column, value in before.items()
        if column not in ELSEWHERE
        if not same(row[column], value, 1e-3 if column in DIFFERENCES else rounding)
    ]


def test_the_recorded_files_have_no_local_paths() -> None:
    files = [path for path in RECORDED.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 350_000
    for path in files:
        content = path.read_bytes()
        for word in (b"/home", b"/root", b"/tmp", b"/work", b"/Users", b"hostname"):
            assert word not in content, (path.name, word)


def test_its_stopped_sweep_resumes_to_the_same_figures(lab: Lab, stopped: Path) -> None:
    (listed,) = lab.listed()
    assert (listed["id"], listed["state"], listed["finished"]) == (ID, "stopped", 2)
    before = (stopped / journal.NAME).read_bytes()

    outcome = lab.run("resume", ID)
    assert outcome.code == 0, outcome.err
    assert "4 of 4 trials finished" in outcome.out
    anew = OTHER_WEIGHTS in outcome.err
    resumed = "" if anew else f", resumed after step {STEPS}"
    assert f"b16-s1: started on cpu, attempt 2{resumed}\n" in outcome.err
    assert (stopped / journal.NAME).read_bytes().startswith(before)
    assert list(statuses(stopped).values()) == ["finished"] * 4
    begun = [event.trial for event in events_of(stopped) if isinstance(event, ev.TrialStarted)]
    assert begun == ["b16-s0", "b64-s0", "b16-s1", "b16-s1", "b64-s1"]

    export = lab.root / "out"
    outcome = lab.run("--export", str(export), "--sweep", ID)
    assert outcome.code == 0, outcome.err
    rounding = 1e-3 if anew else 1e-5
    assert [cell for name in TABLES for cell in differing(export, name, rounding)] == []

    outcome = lab.run("compare", str(WHOLE), ID, "--json")
    assert outcome.code == 0, outcome.err
    compared = json.loads(outcome.out)
    assert compared["settings"] == []
    assert [row["label"] for row in compared["rows"]] == ["16", "64"]
    for row in compared["rows"]:
        assert row["test_accuracy"]["difference"] == pytest.approx(0, abs=1e-5)


def test_its_stopped_sweep_is_exported_and_compared(lab: Lab, stopped: Path) -> None:
    export = lab.root / "out"
    outcome = lab.run("--export", str(export), "--sweep", ID)
    assert outcome.code == 130
    recorded = table(WHOLE, "epochs.csv")
    rows = table(export, "epochs.csv")
    assert 40 < len(rows) < len(recorded)
    whole = {(row["trial"], row["epoch"]): row for row in recorded}
    for row in rows:
        before = whole[row["trial"], row["epoch"]]
        new = {key: value for key, value in row.items() if key not in before and value}
        assert new.keys() <= FOLLOWING
        assert {k: row[k] for k in before if k not in TIMES} == {
            k: v for k, v in before.items() if k not in TIMES
        }
    outcome = lab.run("compare", str(WHOLE), str(export))
    assert outcome.code == 0, outcome.err


def test_the_board_opens_its_stopped_sweep(lab: Lab, stopped: Path) -> None:
    with Terminal("attach", ID, columns=120, rows=34, **lab.environment()) as terminal:
        terminal.wait_for("r resumes", "2/4 done, 1 stopped")
        terminal.press("q")
        assert terminal.wait_for_exit() == 0
