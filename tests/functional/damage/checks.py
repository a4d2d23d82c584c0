"""What must hold after every command on damaged files."""

import csv
import hashlib
import io
import json
import os
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from tests.functional.damage.calls import Call, Called
from tests.functional.damage.recording import Places

CODES = (0, 1, 2, 3, 130)
MORE_MEBIBYTES = 100.0
OF_THE_MACHINE = {"epoch_seconds", "samples_per_second", "peak_memory_bytes", "seconds"} | {
    "warm_up_seconds",
    "attempt",
}
"""Columns that differ when a training is repeated."""
MARKING = ("damaged_journal_lines", "complete", "state")
"""The keys of a manifest that say that figures may be others."""
MARKS = ("damaged", "cannot be read", "changed", "no readable", "missing", "incomplete")

Snapshot = dict[str, tuple[int, int, str]]


def faults_of(call: Call, got: Called, before: Called) -> Iterator[str]:
    """Yield what is wrong with one call, compared with the same call on undamaged files."""
    text = got.out + got.err
    if got.hung:
        yield f"hung: killed after {got.seconds:.0f} s"
    elif got.code not in CODES:
        yield f"exit code {got.code}"
    if "Traceback" in text:
        yield "traceback"
    if got.code in (2, 3) and not call.terminal and "batchscope: " not in got.err:
        yield f"exit code {got.code} without a message"
    if got.left:
        yield f"{got.left} processes did not end"
    for what, now, then in zip(
        ("memory", "memory of the conductor"), got.mebibytes, before.mebibytes, strict=True
    ):
        if now > then + MORE_MEBIBYTES:
            yield f"{what}: {now:.0f} MiB, undamaged {then:.0f} MiB"
    if not call.terminal and (raw := raw_characters(text)):
        yield f"raw control characters: {raw}"


def slow(got: Called, before: Called, most: float) -> Iterator[str]:
    """Yield where a call worked or waited `most` seconds longer than on undamaged files.

    Its processor time and its longest wait are judged, since its duration depends on the machine.
    """
    if got.cpu > before.cpu + most:
        yield f"slow: {got.cpu:.1f} s of processor time, undamaged {before.cpu:.1f} s"
    if got.blocked > before.blocked + most:
        yield f"waited {got.blocked:.1f} s, undamaged {before.blocked:.1f} s"


def raw_characters(text: str) -> str:
    """Return the control characters of an output besides newlines, and bytes that are no UTF-8."""
    raw = {c for c in text if unicodedata.category(c) in ("Cc", "Cs") and c != "\n"}
    return ", ".join(sorted(ascii(c) for c in raw))


def hidden(call: Call, got: Called, places: Places) -> Iterator[str]:
    """Yield which sweeps a list leaves out."""
    if call.words[0] == "list" and got.code == 0:
        names = {folder.name for folder in (places.home / "sweeps").iterdir()}
        shown = {line.split(" ")[0] for line in got.out.splitlines()}
        if "--json" in call.words:
            shown = {sweep["id"] for sweep in json.loads(got.out)}
        if missing := names - shown:
            yield f"hidden: {', '.join(sorted(missing))}"
    elif call.words[0] == "list":
        yield "nothing listed"


def undeleted(call: Call, got: Called, places: Places) -> Iterator[str]:
    """Yield which sweep could not be deleted."""
    if call.words[0] == "delete":
        folder = places.home / "sweeps" / call.words[1]
        if got.code or os.path.lexists(folder) or any(places.home.glob("removed/*")):
            yield f"not deleted: {got.err.strip()}"


def logged(places: Places) -> Iterator[str]:
    """Yield which logs of processes have a traceback."""
    for path in places.home.glob("sweeps/*/*.log"):
        if path.is_file() and path.stat().st_size < 1 << 24 and b"Traceback" in path.read_bytes():
            yield f"traceback in {path.name}: {path.read_text(errors='replace')[-300:]}"


def tables(folder: Path) -> dict[str, list[dict[str, str]]]:
    """Return the tables of an export, without what differs when a training is repeated."""
    found = {}
    for path in sorted(folder.glob("*.csv")):
        rows = csv.DictReader(io.StringIO(path.read_text("utf-8"), newline=""))
        found[path.name] = [
            {k: v for k, v in row.items() if k not in OF_THE_MACHINE} for row in rows
        ]
    return found


def unmarked(folder: Path, reference: Path, said: str) -> Iterator[str]:
    """Yield which tables of an export differ from a reference, if nothing says why."""
    found, expected = tables(folder), tables(reference)
    if found == expected:
        return
    now, then = (json.loads((each / "manifest.json").read_text()) for each in (folder, reference))
    marked = any(now[key] != then[key] for key in MARKING)
    if not (marked or any(mark in said for mark in MARKS)):
        names = [name for name in expected if found.get(name) != expected[name]]
        yield f"figures differ without a mark: {', '.join(names)}"


def snapshot(folder: Path) -> Snapshot:
    """Return mode, time of change and digest of everything in a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        whole = stat.S_ISREG(status.st_mode)
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if whole else ""
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_mtime_ns, digest)
    return found
