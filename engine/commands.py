"""What people ask of a running sweep: lines of `commands.jsonl`, appended by any viewer."""

import os
from pathlib import Path

import msgspec

NAME = "commands.jsonl"


class Stop(msgspec.Struct, frozen=True, tag_field="command", tag="stop"):
    """End the sweep now; `batchscope resume` takes it up again."""


AnyCommand = Stop


class _Named(msgspec.Struct):
    """What every command has: without it, an empty object would be taken for one."""

    command: str


_named = msgspec.json.Decoder(_Named).decode
_decode = msgspec.json.Decoder(AnyCommand).decode


def send(folder: Path, command: AnyCommand) -> None:
    """Append a command for the conductor of the sweep in `folder`.

    Raises:
        OSError: the folder cannot be written.
    """
    descriptor = os.open(folder / NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, msgspec.json.encode(command) + b"\n")
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
        found = []
        for line in chunk[:end].split(b"\n")[:-1]:
            try:
                _named(line)
                found.append(_decode(line))
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue
        return found
