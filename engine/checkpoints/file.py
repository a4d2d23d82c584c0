"""Reads and writes checkpoint files: the state of one trial's training, complete or not at all.

A file is a header with its own checksum, and a payload whose SHA-256 is in the header, so a
truncated or changed file is detected. Only regular files are read, and never more than the header
says. A new one is written under a temporary name, flushed to
disk and then renamed; the previous one is kept until then. `engine.training.trainer.snapshot`
defines the payload; the conductor only reads headers.
"""

import contextlib
import hashlib
import os
import re
import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from batchscope.engine.formatting import shown_size
from batchscope.engine.system.files import create, make_folder, remove_quietly, sync, sync_file
from batchscope.engine.system.files import remove as remove_any
from batchscope.engine.system.untrusted_files import open_regular

TRIALS, WEIGHTS = "trials", "weights"
CURRENT, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"
MAGIC, VERSION = b"batchsco", 1
LONGEST_NAME = 100

_HEADER = struct.Struct(">8sIQQQ32sI")
HEADER_BYTES = _HEADER.size
_MOST_ATTEMPTS, _MOST_STEPS = 1 << 32, 1 << 53
"""No training comes near; larger numbers could not be counted on or written again."""
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


def make_folders(folder: Path) -> None:
    """Create the folder of a trial and the one above it, in place of links to other places.

    Raises:
        OSError: they cannot be created.
    """
    make_folder(folder.parent)
    make_folder(folder)


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
    make_folders(folder)
    fresh = folder / f"checkpoint.{attempt}.tmp"
    try:
        with create(fresh) as file:
            file.write(_header(attempt, steps, payload))
            file.write(payload)
            sync_file(file)
        latest = latest_header(folder)
        if latest and latest.attempt > attempt:
            raise Superseded(f"attempt {latest.attempt} has already written a checkpoint")
        for path in (folder / CURRENT, folder / PREVIOUS):
            if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
                remove_any(path)  # a folder would be in the way of the new names
        with contextlib.suppress(FileNotFoundError):
            (folder / CURRENT).replace(folder / PREVIOUS)
        fresh.replace(folder / CURRENT)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise
    sync(folder)


def read(path: Path, most: int | None = None) -> tuple[CheckpointHeader, bytes]:
    """Read a checkpoint's header and payload.

    Args:
        path: the file.
        most: the largest payload that can be right, in bytes; None for any.

    Raises:
        Damaged: it is truncated or changed, or larger than `most`.
        OSError: it cannot be read, or is not a regular file.
    """
    with open_regular(path, None, follow=False) as file:
        header = _fitting(file)
        if most is not None and header.length > most:
            raise Damaged(f"it is larger than {shown_size(most)}")
        payload = file.read(header.length)
    if hashlib.sha256(payload).digest() != header.digest:
        raise Damaged("its content has changed (wrong checksum)")
    return header, payload


def read_whole(path: Path) -> bytes:
    """Return all bytes of a checkpoint, to be checked by who uses them.

    Raises:
        Damaged: its header is damaged, or does not state the size that it has.
        OSError: it cannot be read, or is not a regular file.
    """
    with open_regular(path, None, follow=False) as file:
        length = _fitting(file).length
        file.seek(0)
        return file.read(_HEADER.size + length)


def check_size(header: bytes, size: int) -> None:
    """Raise `Damaged` unless a file of `size` bytes begins with the header of such a file."""
    stated, held = _parsed(header[: _HEADER.size]).length, size - _HEADER.size
    if held != stated:
        raise Damaged(f"it has {held:,} of {stated:,} bytes")


def _fitting(file: BinaryIO) -> CheckpointHeader:
    """Read a header; raise `Damaged` unless the file has the size that it states."""
    content = file.read(_HEADER.size)
    header = _parsed(content)
    check_size(content, os.fstat(file.fileno()).st_size)
    return header


def latest_header(folder: Path) -> CheckpointHeader | None:
    """Return the newest valid header; the payload is not read."""
    for name in (CURRENT, PREVIOUS):
        with (
            contextlib.suppress(OSError, Damaged),
            open_regular(folder / name, None, follow=False) as file,
        ):
            return _parsed(file.read(_HEADER.size))
    return None


def candidates(folder: Path) -> Iterator[Path]:
    """Yield the checkpoints to resume from, newest first, after removing unfinished files.

    Whatever has the name of a checkpoint is yielded, so that `read` says what is wrong with it.
    Nothing is looked for behind a link to another folder, whose files are not ours. Only the
    process that holds the sweep's lock may call it.
    """
    if _is_elsewhere(folder):
        return
    for left in folder.glob("checkpoint.*.tmp"):
        with contextlib.suppress(OSError):
            remove_any(left)
    yield from (path for name in (CURRENT, PREVIOUS) if os.path.lexists(path := folder / name))


def remove(folder: Path) -> None:
    """Remove a trial's checkpoints, ignoring errors; nothing behind a link to another folder."""
    if not _is_elsewhere(folder):
        remove_quietly(folder)


def _is_elsewhere(folder: Path) -> bool:
    return folder.is_symlink() or folder.parent.is_symlink()


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
    if attempt >= _MOST_ATTEMPTS or steps >= _MOST_STEPS:
        raise Damaged("its header states impossible numbers")
    return CheckpointHeader(attempt, steps, length, digest)
