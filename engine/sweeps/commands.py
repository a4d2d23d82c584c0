"""Commands for a running sweep: lines of `commands.jsonl`, which any viewer may append."""

import errno
import os
from contextlib import suppress
from pathlib import Path

import msgspec

from batchscope.engine.system.untrusted_files import open_regular, open_to_write, read_tail

NAME = "commands.jsonl"
LONGEST_LINE = 1 << 16
"""Limit for a command: the longest one names a trial."""
CHUNK = 1 << 20


class Stop(msgspec.Struct, frozen=True, tag_field="command", tag="stop"):
    """Stop the sweep now; `batchscope resume` resumes it."""


class Pause(msgspec.Struct, frozen=True, tag_field="command", tag="pause"):
    """Start no further trial, and pause the running ones after their current step."""


class Continue(msgspec.Struct, frozen=True, tag_field="command", tag="continue"):
    """Continue after a pause."""


class Skip(msgspec.Struct, frozen=True, tag_field="command", tag="skip"):
    """End a queued or running trial; the sweep continues without it."""

    trial: str


class Retry(msgspec.Struct, frozen=True, tag_field="command", tag="retry"):
    """Queue a trial again that failed, was stopped or was skipped."""

    trial: str


class Add(msgspec.Struct, frozen=True, tag_field="command", tag="add"):
    """Add a batch size to the grid, combined with every other setting of it."""

    batch_size: int


class AcceptCode(msgspec.Struct, frozen=True, tag_field="command", tag="accept_code"):
    """Go on although the code of a task has changed; a conductor obeys it at its start."""


AnyCommand = Stop | Pause | Continue | Skip | Retry | Add | AcceptCode


class _Named(msgspec.Struct):
    """The field that every command has: without this check, an empty object would be accepted."""

    command: str


_named = msgspec.json.Decoder(_Named).decode
_decode: msgspec.json.Decoder[AnyCommand] = msgspec.json.Decoder(AnyCommand)


def encode(command: AnyCommand) -> bytes:
    """Encode a command as a JSON line without a newline."""
    return msgspec.json.encode(command)


def decode(line: bytes) -> AnyCommand:
    """Decode a line.

    Raises:
        ValueError: the line is not a command.
    """
    if len(line) > LONGEST_LINE:
        raise ValueError("it is too long for a command")
    try:
        _named(line)
        return _decode.decode(line)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def send(folder: Path, command: AnyCommand) -> None:
    """Append a command for the conductor of the sweep in `folder`, in one write.

    An incomplete line before it, left on a full disk, is ended first.

    Raises:
        OSError: the command cannot be written, or something else is in place of the file.
    """
    with open_to_write(folder / NAME, append=True) as file:
        line = encode(command) + b"\n"
        if _is_torn(folder / NAME):
            line = b"\n" + line
        if os.write(file.fileno(), line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / NAME))


def _is_torn(path: Path) -> bool:
    return read_tail(path, 1, follow=False) not in (b"", b"\n")


class Inbox:
    """Reads the commands appended after it was opened; other lines are ignored.

    A line without an end is only kept waiting while it can still become a command.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._offset = 0
        with suppress(OSError), open_regular(self._path, most=None, follow=False) as file:
            self._offset = os.fstat(file.fileno()).st_size

    def take(self) -> list[AnyCommand]:
        """Return the commands in the complete lines that are new since the last call.

        Nothing is returned while something else is in place of the file. Of a large file a part
        is read at each call.
        """
        try:
            with open_regular(self._path, most=None, follow=False) as file:
                file.seek(self._offset)
                chunk = file.read(CHUNK)
        except OSError:
            return []
        end = chunk.rfind(b"\n") + 1
        if not end and len(chunk) == CHUNK:
            end = CHUNK  # no command is as long as that
        self._offset += end
        commands = []
        for line in chunk[:end].split(b"\n"):
            try:
                commands.append(decode(line))
            except ValueError:
                continue
        return commands
