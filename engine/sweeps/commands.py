"""What people ask of a running sweep: lines of `commands.jsonl`, appended by any viewer."""

import os
from pathlib import Path

import msgspec

NAME = "commands.jsonl"


class Stop(msgspec.Struct, frozen=True, tag_field="command", tag="stop"):
    """End the sweep now; `batchscope resume` takes it up again."""


class Pause(msgspec.Struct, frozen=True, tag_field="command", tag="pause"):
    """Begin no trial, and hold those that run after their present step."""


class Continue(msgspec.Struct, frozen=True, tag_field="command", tag="continue"):
    """Go on after a pause."""


class Skip(msgspec.Struct, frozen=True, tag_field="command", tag="skip"):
    """End a trial that waits or runs; the sweep goes on without it."""

    trial: str


class Retry(msgspec.Struct, frozen=True, tag_field="command", tag="retry"):
    """Queue a trial anew that failed, was stopped or was skipped."""

    trial: str


class Add(msgspec.Struct, frozen=True, tag_field="command", tag="add"):
    """Run every other setting of the grid with one more batch size."""

    batch_size: int


AnyCommand = Stop | Pause | Continue | Skip | Retry | Add


class _Named(msgspec.Struct):
    """What every command has: without it, an empty object would be taken for one."""

    command: str


_named = msgspec.json.Decoder(_Named).decode
_decode: msgspec.json.Decoder[AnyCommand] = msgspec.json.Decoder(AnyCommand)


def encode(command: AnyCommand) -> bytes:
    """A command as a line without its end."""
    return msgspec.json.encode(command)


def decode(line: bytes) -> AnyCommand:
    """One line as a command.

    Raises:
        msgspec.MsgspecError: the line is none.
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
    """Commands appended after this inbox was opened; lines that are none are passed over."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._offset = self._path.stat().st_size if self._path.exists() else 0

    def take(self) -> list[AnyCommand]:
        """New whole lines since the last call."""
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
