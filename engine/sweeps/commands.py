"""Commands for a running sweep: lines of `commands.jsonl`, which any viewer may append."""

import os
from pathlib import Path

import msgspec

NAME = "commands.jsonl"


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


AnyCommand = Stop | Pause | Continue | Skip | Retry | Add


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
        msgspec.MsgspecError: the line is not a command.
    """
    _named(line)
    return _decode.decode(line)


def send(folder: Path, command: AnyCommand) -> None:
    """Append a command for the conductor of the sweep in `folder`.

    Raises:
        OSError: the folder cannot be written.
    """
    descriptor = os.open(folder / NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, encode(command) + b"\n")
    finally:
        os.close(descriptor)


class Inbox:
    """Reads the commands appended after it was opened; other lines are ignored."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._offset = self._path.stat().st_size if self._path.exists() else 0

    def take(self) -> list[AnyCommand]:
        """Return the commands in the complete lines that are new since the last call."""
        try:
            with open(self._path, "rb") as file:
                file.seek(self._offset)
                chunk = file.read()
        except FileNotFoundError:
            return []
        end = chunk.rfind(b"\n") + 1
        self._offset += end
        commands = []
        for line in chunk[:end].split(b"\n")[:-1]:
            try:
                commands.append(decode(line))
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue
        return commands
