"""Checkpoint files: one trial's training, whole on disk or not there at all.

A file is a header with a checksum of its own, and a payload whose SHA-256 is in the header: one
that was cut short or changed in a single byte is known for it. A new one is written beside the
others, made durable, and only then takes its name; the one before stays until then. What the
payload holds is the worker's affair (`engine.training.trainer.snapshot`); the conductor reads
headers.
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
    """The file is no whole checkpoint; the message says why."""


class Superseded(Exception):
    """A later attempt of the trial has written its checkpoint here."""


class CheckpointHeader(NamedTuple):
    """Which attempt wrote the file, after how many steps, and the bytes of its payload."""

    attempt: int
    steps: int
    length: int
    digest: bytes


def folder_of(sweep: Path, trial: str) -> Path:
    """Where a trial's checkpoints lie in the folder of its sweep.

    Its name is the trial's, or a readable part of that and a hash where no file may be called so.
    """
    return sweep / TRIALS / _file_name(trial)


def weights_of(sweep: Path, trial: str) -> Path:
    """Where a trial's final weights lie that were asked for: apart, since checkpoints go."""
    return sweep / WEIGHTS / _file_name(trial)


def _file_name(trial: str) -> str:
    name = trial
    if not _PLAIN.fullmatch(trial) or len(trial) > LONGEST_NAME:
        short = re.sub(r"[^A-Za-z0-9._-]+", "-", trial).strip("-.")[: LONGEST_NAME - 18]
        name = f"{short}-{hashlib.sha256(trial.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
    return name


def write(folder: Path, attempt: int, steps: int, payload: bytes) -> None:
    """Write a checkpoint so that it, or the one before, is whole whatever happens meanwhile.

    Raises:
        Superseded: a later attempt has written here.
        OSError: the disk refuses; the one before is as it was.
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
            raise Superseded(f"attempt {latest.attempt} has written a checkpoint since")
        with contextlib.suppress(FileNotFoundError):
            (folder / CURRENT).replace(folder / PREVIOUS)
        fresh.replace(folder / CURRENT)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise
    sync(folder)


def read(path: Path) -> tuple[CheckpointHeader, bytes]:
    """A checkpoint's header and payload.

    Raises:
        Damaged: it is not whole.
        OSError: it cannot be read.
    """
    content = path.read_bytes()
    header = _parsed(content[: _HEADER.size])
    payload = content[_HEADER.size :]
    if len(payload) != header.length:
        raise Damaged(f"it has {len(payload):,} of {header.length:,} bytes")
    if hashlib.sha256(payload).digest() != header.digest:
        raise Damaged("its bytes have changed")
    return header, payload


def latest_header(folder: Path) -> CheckpointHeader | None:
    """The header of the newest checkpoint that has one; its payload is not looked at."""
    for name in (CURRENT, PREVIOUS):
        with contextlib.suppress(OSError, Damaged), open(folder / name, "rb") as file:
            return _parsed(file.read(_HEADER.size))
    return None


def candidates(folder: Path) -> Iterator[Path]:
    """Checkpoints to go on from, newest first; what a writer that died left half done is removed.

    Only for whoever holds the sweep.
    """
    for left in folder.glob("checkpoint.*.tmp"):
        with contextlib.suppress(OSError):
            left.unlink()
    yield from (path for name in (CURRENT, PREVIOUS) if (path := folder / name).is_file())


def remove(folder: Path) -> None:
    """Remove a trial's checkpoints, as far as the disk lets us."""
    shutil.rmtree(folder, ignore_errors=True)


def _header(attempt: int, steps: int, payload: bytes) -> bytes:
    digest = hashlib.sha256(payload).digest()
    fields = (MAGIC, VERSION, attempt, steps, len(payload), digest)
    return _HEADER.pack(*fields, zlib.crc32(_HEADER.pack(*fields, 0)))


def _parsed(content: bytes) -> CheckpointHeader:
    if len(content) < _HEADER.size:
        raise Damaged("it ends within its header")
    magic, version, attempt, steps, length, digest, checksum = _HEADER.unpack(content)
    if magic != MAGIC:
        raise Damaged("it is no checkpoint of batchscope")
    if checksum != zlib.crc32(content[:-4] + bytes(4)):
        raise Damaged("its header has changed")
    if version != VERSION:
        raise Damaged(f"it has version {version}, and this program reads version {VERSION}")
    return CheckpointHeader(attempt, steps, length, digest)
