"""Runs the real command on damaged copies of a recording, and returns what is wrong."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.functional.damage import checks
from tests.functional.damage.calls import Call, Called, calls_for, run
from tests.functional.damage.cases import OUTSIDE, Case
from tests.functional.damage.recording import Places

PRECIOUS = "a file that nobody may change\n"


@dataclass(frozen=True)
class Verdict:
    """One call on one case, and what is wrong with it."""

    case: Case
    call: Call
    got: Called
    faults: tuple[str, ...]


class CommandCampaign:
    """Runs cases, each in a fresh copy.

    Args:
        recorded: the recording.
        patience: a command is killed after so many seconds.
        most_slower: how many seconds of work or waiting are allowed more than on undamaged files;
            None for any.
    """

    def __init__(self, recorded: Places, patience: float, most_slower: float | None) -> None:
        self._recorded, self._patience, self._most_slower = recorded, patience, most_slower
        self._undamaged: dict[str, Called] = {}
        self._references: dict[str, Path] = {}
        self._kept = tempfile.TemporaryDirectory(prefix="batchscope-undamaged-")

    def __enter__(self) -> "CommandCampaign":
        return self

    def __exit__(self, *_: object) -> None:
        self._kept.cleanup()

    def judge(self, case: Case, terminal: bool = False) -> list[Verdict]:
        """Damage a copy, run every command that reads the file, and return the verdicts."""
        before = self._before(case.file, terminal)
        found = []
        with self._copy() as places:
            calls = calls_for(case.file, places, terminal)
            case.apply(places.root)
            outside = checks.snapshot(places.root / OUTSIDE)
            for call in calls:
                got = run(call, places, self._patience)
                faults = [*checks.faults_of(call, got, before[call.name])]
                faults += checks.hidden(call, got, places)
                faults += checks.undeleted(call, got, places)
                faults += checks.logged(places)
                if self._most_slower is not None:
                    faults += checks.slow(got, before[call.name], self._most_slower)
                faults += self._compared(call, got, places)
                if (after := checks.snapshot(places.root / OUTSIDE)) != outside:
                    faults.append("something outside the home has changed")
                    outside = after
                found.append(Verdict(case, call, got, tuple(faults)))
        return found

    def _before(self, file: str, terminal: bool) -> dict[str, Called]:
        """Return how the calls for a file end on undamaged files, by name; each is run once."""
        with self._copy() as places:
            calls = calls_for(file, places, terminal)
            if any(call.name not in self._undamaged for call in calls):
                for call in calls:
                    got = run(call, places, self._patience)
                    assert got.code in (0, 130), (call, got.code, got.err)
                    self._undamaged.setdefault(call.name, got)
                    if target := _target(call, got):
                        kept = Path(self._kept.name) / _export_name(call)
                        if not kept.exists():
                            shutil.copytree(target, kept)
        return self._undamaged

    def _compared(self, call: Call, got: Called, places: Places) -> Iterator[str]:
        target = _target(call, got)
        if target and _export_name(call) != "preset":
            yield from checks.unmarked(
                target, Path(self._kept.name) / _export_name(call), got.out + got.err
            )

    def _copy(self) -> "_Copy":
        return _Copy(self._recorded)


class _Copy:
    """A copy of a recording that is removed afterwards."""

    def __init__(self, recorded: Places) -> None:
        self._recorded = recorded

    def __enter__(self) -> Places:
        self._root = Path(tempfile.mkdtemp(prefix="batchscope-damaged-"))
        shutil.copytree(self._recorded.root, self._root, dirs_exist_ok=True)
        (self._root / OUTSIDE).mkdir()
        (self._root / OUTSIDE / "precious").write_text(PRECIOUS)
        return Places(self._root)

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._root)


def _target(call: Call, got: Called) -> Path | None:
    """Return the folder that a call has exported to."""
    if call.words[0] != "--export" or got.code not in (0, 1, 130):
        return None
    return Path(call.words[1])


def _export_name(call: Call) -> str:
    """Return which export a call writes."""
    if "--preset" in call.words:
        return "preset"
    return call.words[-1].rpartition("-")[2] + ("-resumed" if "--overwrite" in call.words else "")
