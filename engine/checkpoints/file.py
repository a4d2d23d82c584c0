"""Reads and writes checkpoint files: the state of one trial's training, complete or not at all.

A file is a header with its own checksum, and a payload whose SHA-256 is in the header, so a
truncated or changed file is detected. A new one is written under a temporary name, flushed to
disk and then renamed; the previous one is kept until then. `engine.training.trainer.snapshot`
defines the payload; the conductor only reads headers.
"""

import contextlib
import hashlib
import re
import shutil
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from batchscope.engine.system.files import sync, sync_file

TRIALS, WEIGHTS = "trials", "weights"
CURRENT, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"
MAGIC, VERSION = b"batchsco", 1
LONGEST_NAME = 100

_HEADER = struct.Struct(">8sIQQQ32sI")
_PLAIN = re.compile(r"[a-z0-9_][a-z0-9._-]*")


class Damaged(Exception):
    """The file is not a complete checkpoint; the message says why."""


class Superseded(Exception):
    """A later attempt of the trial has already written its checkpoint."""


class CheckpointHeader(NamedTuple):
    """The header: the attempt that wrote the file, its steps, the payload's bytes and SHA-256."""

    attempt: int
    steps: int
    length: int
    digest: bytes


def folder_of(sweep: Path, trial: str) -> Path:
    """Return the folder of a trial's checkpoints in the folder of its sweep.

    Its name is the trial's, or, where that is not a valid file name, a readable part and a hash.
    """
    return sweep / TRIALS / _file_name(trial)


def weights_of(sweep: Path, trial: str) -> Path:
    """Return the folder of a trial's final weights: a separate one, as checkpoints are deleted."""
    return sweep / WEIGHTS / _file_name(trial)


def _file_name(trial: str) -> str:
    name = trial
    if not _PLAIN.fullmatch(trial) or len(trial) > LONGEST_NAME:
        short = re.sub(r"[^A-Za-z0-9._-]+", "-", trial).strip("-.")[: LONGEST_NAME - 18]
        name = f"{short}-{hashlib.sha256(trial.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
    return name


def write(folder: Path, attempt: int, steps: int, payload: bytes) -> None:
    """Write a checkpoint atomically: after a crash, it or the previous one is complete.

    Args:
        folder: folder of the trial's checkpoints.
        attempt: number of the attempt that writes it.
        steps: optimizer steps done.
        payload: the state of the training.

    Raises:
        Superseded: a later attempt has already written a checkpoint.
        OSError: it cannot be written; the previous one is unchanged.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = folder / f"checkpoint.{attempt}.tmp"
    try:
        with open(fresh, "wb") as file:
            file.write(_header(attempt, steps, payload))
            file.write(payload)
            sync_file(file)
        latest = latest_header(folder)
        if latest and latest.attempt > attempt:
            raise Superseded(f"attempt {latest.attempt} has already written a checkpoint")
        with contextlib.suppress(FileNotFoundError):
            (folder / CURRENT).replace(folder / PREVIOUS)
        fresh.replace(folder / CURRENT)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise
    sync(folder)


def read(path: Path) -> tuple[CheckpointHeader, bytes]:
    """Read a checkpoint's header and payload.

    Raises:
        Damaged: it is truncated or changed.
        OSError: it cannot be read.
    """
    content = path.read_bytes()
    header = _parsed(content[: _HEADER.size])
    payload = content[_HEADER.size :]
    if len(payload) != header.length:
        raise Damaged(f"it has {len(payload):,} of {header.length:,} bytes")
    if hashlib.sha256(payload).digest() != header.digest:
        raise Damaged("its content has changed (wrong checksum)")
    return header, payload


def latest_header(folder: Path) -> CheckpointHeader | None:
    """Return the newest valid header; the payload is not read."""
    for name in (CURRENT, PREVIOUS):
        with contextlib.suppress(OSError, Damaged), open(folder / name, "rb") as file:
            return _parsed(file.read(_HEADER.size))
    return None


def candidates(folder: Path) -> Iterator[Path]:
    """Yield the checkpoints to resume from, newest first, after removing unfinished files.

    Only the process that holds the sweep's lock may call it.
    """
    for left in folder.glob("checkpoint.*.tmp"):
        with contextlib.suppress(OSError):
            left.unlink()
    yield from (path for name in (CURRENT, PREVIOUS) if (path := folder / name).is_file())


def remove(folder: Path) -> None:
    """Remove a trial's checkpoints, ignoring errors."""
    shutil.rmtree(folder, ignore_errors=True)


def _header(attempt: int, steps: int, payload: bytes) -> bytes:
    digest = hashlib.sha256(payload).digest()
    fields = (MAGIC, VERSION, attempt, steps, len(payload), digest)
    return _HEADER.pack(*fields, zlib.crc32(_HEADER.pack(*fields, 0)))


def _parsed(content: bytes) -> CheckpointHeader:
    if len(content) < _HEADER.size:
        raise Damaged("its header is incomplete")
    magic, version, attempt, steps, length, digest, checksum = _HEADER.unpack(content)
    if magic != MAGIC:
        raise Damaged("it is not a checkpoint of batchscope")
    if checksum != zlib.crc32(content[:-4] + bytes(4)):
        raise Damaged("its header has changed (wrong checksum)")
    if version != VERSION:
        raise Damaged(f"it has version {version}, but this program reads version {VERSION}")
    return CheckpointHeader(attempt, steps, length, digest)
