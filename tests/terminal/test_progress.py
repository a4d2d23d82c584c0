"""Progress below the log lines in a real terminal, on a real sweep."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.lab import a_lab, copy_of_recorded, recorded, without_its_end
from tests.terminal.terminals import COMMAND, Terminal

LONG = (
    *("--preset", "quickstart", "--set", "seeds=1", "--set", "grid.batch_size=[16,512]"),
    *("--set", "train.epochs=100000", "--set", "run.stack=never", "--workers", "2"),
)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home whose sweeps do not outlive the test."""
    yield tmp_path / "home"
    subprocess.run([COMMAND, "stop", "--all", "--home", str(tmp_path / "home")], check=True)


def test_progress_moves_fits_and_leaves_a_clean_screen(home: Path) -> None:
    """At 80 columns, then in 40 and a few lines, then interrupted."""
    words = (*LONG, "--export", str(home.parent / "out"), "--home", str(home))
    with Terminal(*words, LC_ALL="C.UTF-8", NO_COLOR="") as terminal:
        terminal.wait_for("● running 0/2 trials", "b16-s0", "b512-s0", "epoch", "/s", "ETA", "step")
        assert b"\x1b[?1049h" not in terminal.bytes, "no screen of its own"
        rows = terminal.text.splitlines()
        head = next(n for n, row in enumerate(rows) if "running" in row)
        assert "digits: 1,437 training and 360 test images" in terminal.text
        assert "digits" in "\n".join(rows[:head]), "log lines stand above"
        assert all(not row.strip() for row in rows[head + 3 :])
        terminal.resize(40, 12)
        terminal.wait_until_gone("step")
        terminal.wait_for("running 0/2 trials", "ETA")
        terminal.press("\x03")
        assert terminal.wait_for_exit() == 130
        terminal.settle()
        assert terminal.bytes.count(b"\x1b[?25h") >= terminal.bytes.count(b"\x1b[?25l")
        shown = terminal.text
    assert "━" not in shown
    assert "ETA" not in shown
    assert b"interrupted: stopping the sweep" in terminal.bytes, "it may have scrolled away"
    assert "batchscoperesume" in "".join(shown.split()), "wrapped anywhere"
    assert "epochs" not in shown, "they are left to the rows"


def test_at_the_end_the_rows_are_gone_and_the_summary_is_there(tmp_path: Path) -> None:
    """Of a sweep of which one trial is left to run."""
    with a_lab(tmp_path) as lab:
        folder = copy_of_recorded(tmp_path).only_folder()
        last = without_its_end(folder)
        words = ("resume", folder.name, "--home", str(lab.home), "--ascii")
        with Terminal(*words, columns=100, rows=50) as terminal:
            assert terminal.wait_for_exit() == 0
            terminal.settle()
            shown = terminal.text
    assert b" 3/4 trials " in terminal.bytes
    assert shown.isascii()
    assert shown.count(f"{last}: finished, test accuracy 0.") == 1
    assert shown.count(": finished, test accuracy") == 1, "the others were before"
    assert "4 of 4 trials finished" in shown
    assert "ETA" not in shown
    assert "running" not in shown


@pytest.mark.parametrize(
    ("words", "term"), [(("--quiet",), "xterm"), (("--log-format", "json"), "xterm"), ((), "dumb")]
)
def test_there_is_no_display_where_none_is_wanted(words: tuple[str, ...], term: str) -> None:
    """Of a finished sweep, which is followed without a screen."""
    folder, home = recorded().folder, recorded().lab.home
    script = f"{COMMAND} attach {folder.name} --home {home} {' '.join(words)} < /dev/null"
    with Terminal("-c", script, command="/bin/sh", columns=200, TERM=term) as terminal:
        assert terminal.wait_for_exit() == 0
        terminal.settle()
        assert b"\x1b" not in terminal.bytes
        told = b"sweep finished, 4 of 4 trials finished" in terminal.bytes
        assert told == ("--quiet" not in words)
