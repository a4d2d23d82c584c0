"""The commands that are run on a damaged home, and what each one costs and says."""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.functional.damage.recording import Places
from tests.functional.lab import COMMAND, Lab

MEASURED = str(Path(__file__).with_name("measured.py"))


@dataclass(frozen=True)
class Call:
    """A command of batchscope: its words, and whether it gets a terminal."""

    words: tuple[str, ...]
    terminal: bool = False

    @property
    def name(self) -> str:
        """What it is called in tables: its words without the names of sweeps and folders."""
        first, last = self.words[0], self.words[-1].rpartition("-")[2]
        of = f" {last}" if last in ("whole", "stopped", "yes") else ""
        return f"{first}{of}{' on a terminal' if self.terminal else ''}"


@dataclass(frozen=True)
class Called:
    """How a call ended.

    Attributes:
        code: the exit code; negative for a signal.
        out: what it wrote on stdout, or on its terminal.
        err: what it wrote on stderr.
        seconds: how long it took.
        cpu: its processor time in seconds.
        mebibytes: the most memory that it held, and that its conductor held.
        blocked: the longest time in seconds without any work.
        hung: whether it was killed, because it took too long.
        left: how many of its processes did not end.
    """

    code: int
    out: str
    err: str
    seconds: float
    cpu: float
    mebibytes: tuple[float, float]
    blocked: float
    hung: bool
    left: int


def run(call: Call, places: Places, patience: float) -> Called:
    """Run a call to its end, for at most `patience` seconds."""
    lab = Lab(places.root)
    with tempfile.TemporaryDirectory(prefix="batchscope-call-") as name:
        facts, out, err = (Path(name) / part for part in ("facts.json", "out", "err"))
        words = [*["--terminal"] * call.terminal, COMMAND, *call.words]
        start = [sys.executable, "-I", "-S", MEASURED, str(facts), str(patience), *words]
        with open(out, "wb") as stdout, open(err, "wb") as stderr:
            subprocess.run(
                start,
                cwd=lab.cwd,
                env=lab.environment(
                    BATCHSCOPE_CONFIG=str(places.settings), TERM="xterm-256color", COLUMNS="80"
                ),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                check=True,
                timeout=patience + 60,
            )
        found = json.loads(facts.read_text())
        return Called(
            code=found["code"],
            out=out.read_bytes().decode("utf-8", "surrogateescape"),
            err=err.read_bytes().decode("utf-8", "surrogateescape"),
            seconds=found["seconds"],
            cpu=found["cpu"],
            mebibytes=(found["kib"] / 1024, found["conductor_kib"] / 1024),
            blocked=found["blocked"],
            hung=found["hung"],
            left=found["left"],
        )


def calls_for(file: str, places: Places, terminal: bool) -> list[Call]:
    """Return the calls that read a file, those that only look before those that change.

    Args:
        file: the damaged file, as a case names it.
        places: where the damaged copy is.
        terminal: whether the board is opened too.
    """
    whole, stopped = places.whole.name, places.stopped.name
    fresh, plain = str(places.root / "fresh"), "--no-report"
    listing = [Call(("list",)), Call(("list", "--json"))]
    of_whole = ("--export", fresh, plain, "--sweep", whole)
    of_stopped = ("--export", fresh, plain, "--sweep", stopped)
    again = Call(("--export", fresh, "--overwrite", plain, "--sweep", stopped))
    compared = Call(("compare", str(places.export), stopped))
    deleted = [Call(("delete", name, "--yes")) for name in (whole, stopped)]
    match file.split("/"):
        case ["home", "sweeps", "whole", *_]:
            board = [Call(("attach", whole), True)] * terminal
            weights = Call(("--export", fresh, plain, "--weights", "--sweep", whole))
            both = Call(("compare", stopped, whole))
            same = [Call(("attach", whole)), Call(("resume", whole)), both, weights]
            return [*listing, *board, *same, *deleted]
        case ["home", "sweeps", *_]:
            board = [Call(("attach", stopped), True)] * terminal
            looks = [Call(("attach", stopped)), Call(of_stopped), Call(("compare", whole, stopped))]
            return [*listing, *board, *looks, Call(("resume", stopped)), again, *deleted]
        case ["home", *_]:
            return [*listing, Call(("resume", stopped)), again, *deleted]
        case ["export", *_]:
            onto = Call(("--export", str(places.export), plain, "--sweep", whole))
            return [compared, onto, compared, *deleted]
        case ["config", *_]:
            board = [Call(("attach", whole), True)] * terminal
            return [*listing, *board, Call(("settings",)), Call(of_whole), *deleted]
        case _:
            return [Call(("--export", fresh, plain, "--preset", str(places.preset))), *listing]
