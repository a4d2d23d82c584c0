"""`sweep.toml`: the preset of a stored sweep, with a checksum in its first line.

The line is a comment (`# sum: ` and the CRC-32 of the rest), so the file is a preset like any
other. Files of earlier versions have none.
"""

import hashlib
import os
import re
import zlib
from pathlib import Path
from typing import Any

import tomli_w

from batchscope.engine.errors import MachineProblem, Problem, UsageProblem, printable
from batchscope.engine.experiment.preset import Preset, parse_preset, parse_toml
from batchscope.engine.journal.file import NAME as JOURNAL
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.system.untrusted_files import (
    decode_toml,
    is_damage,
    open_to_write,
    read_bytes,
)

SWEEP = "sweep.toml"

START = b"# sum:"

_SUM = re.compile(START + rb" ([0-9a-f]{8})\n")


def sweep_toml(preset: Preset) -> bytes:
    """Return the content of `sweep.toml` for a sweep of this preset.

    Raises:
        UnicodeEncodeError: a string cannot be encoded as UTF-8.
    """
    return _sealed({"name": preset.name, **preset.raw})


def digest_of(content: bytes) -> str:
    """Return a short digest of a `sweep.toml`, equal for equal presets, whatever its checksum."""
    return hashlib.sha256(_without_sum(content)).hexdigest()[:16]


def is_changed(content: bytes) -> bool:
    """Return whether the checksum of a `sweep.toml` is wrong; without one, whether it is none."""
    found = _SUM.match(content)
    if found:
        return found[1] != b"%08x" % zlib.crc32(content[found.end() :])
    try:
        return content.startswith(START) or "title" not in decode_toml(content)
    except ValueError:
        return True


def read_raw(folder: Path) -> dict[str, Any]:
    """Return the content of the preset stored with the sweep in `folder`.

    Raises:
        UsageProblem: it is missing or damaged.
        MachineProblem: it cannot be read.
    """
    path = folder / SWEEP
    shown = printable(path)
    try:
        content = read_bytes(path, follow=False)
    except FileNotFoundError:
        raise UsageProblem(f"{shown}: is missing") from None
    except OSError as error:
        kind = UsageProblem if is_damage(error) else MachineProblem
        raise kind(f"{shown}: cannot be read: {printable(error.strerror or error)}") from None
    if is_changed(content):
        raise UsageProblem(f"{shown}: is damaged: its checksum is wrong or it is empty")
    return parse_toml(content, shown)


def read_preset(folder: Path) -> Preset:
    """Return the checked preset stored with the sweep in `folder`; raises as `read_raw`."""
    return parse_preset(read_raw(folder), Path(SWEEP).stem, printable(folder / SWEEP), stored=True)


def other_sweep(folder: Path, state: SweepState) -> str:
    """Return that the journal in a folder belongs to another sweep; empty if it does not.

    A folder that was renamed holds a journal with another id, but of the experiment that
    `sweep.toml` describes.
    """
    opened = state.opened
    if opened is None or opened.id == folder.name:
        return ""
    try:
        stated = {each.id: each.settings for each in read_preset(folder).configurations}
    except Problem:
        return ""
    if all(stated.get(each.id) == each.settings for each in opened.configurations):
        return ""
    return f"{JOURNAL} belongs to sweep {printable(opened.id)}, not to this {SWEEP}"


def refuse_other_experiment(preset: Preset, state: SweepState, folder: Path) -> None:
    """Refuse to resume a sweep whose preset and journal are about different experiments.

    Raises:
        UsageProblem: the preset lacks a configuration that the journal has, or it is not known
            which ones the journal is about.
    """
    foreign = other_sweep(folder, state)
    if foreign:
        raise UsageProblem(f"{printable(folder.name)}: {foreign}, so it cannot be resumed")
    if state.opened is None and state.lost:
        raise UsageProblem(
            f"{printable(folder.name)}: the line of the journal about the experiment is damaged, "
            f"and {SWEEP} does not fit the rest, so it cannot be resumed"
        )
    known = {each.id for each in preset.configurations}
    for name, each in state.configurations.items():
        if name not in known and not each.confirms:
            raise UsageProblem(
                f"{printable(folder / SWEEP)}: is not that of this sweep: the journal has "
                f"{printable(name)}, which it lacks"
            )


def store(folder: Path, raw: dict[str, Any]) -> None:
    """Replace the preset stored with the sweep in `folder`, atomically.

    Raises:
        OSError: it cannot be written.
    """
    fresh = folder / f".{SWEEP}"
    fresh.unlink(missing_ok=True)  # left by a program that died
    with open_to_write(fresh) as file:
        write_all(file.fileno(), _sealed(raw))
        os.fsync(file.fileno())
    fresh.replace(folder / SWEEP)


def write_all(descriptor: int, content: bytes) -> None:
    """Write all bytes to a file, which may take several writes on a disk that fills up.

    Raises:
        OSError: they cannot be written.
    """
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


def _sealed(raw: dict[str, Any]) -> bytes:
    rest = tomli_w.dumps(raw).encode()
    return b"# sum: %08x\n%s" % (zlib.crc32(rest), rest)


def _without_sum(content: bytes) -> bytes:
    found = _SUM.match(content)
    return content[found.end() :] if found else content
