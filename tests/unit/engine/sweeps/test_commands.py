"""Commands that arrive although the file was damaged, and files that are none."""

import os
from pathlib import Path

import pytest

from batchscope.engine.sweeps import commands
from batchscope.engine.sweeps.commands import NAME, Continue, Inbox, Pause, Stop, send


@pytest.mark.parametrize("torn", [b'{"comm', b"\0\0\0", b"\xff"])
def test_an_incomplete_line_swallows_no_command(tmp_path: Path, torn: bytes) -> None:
    inbox = Inbox(tmp_path)
    send(tmp_path, Pause())
    with open(tmp_path / NAME, "ab") as file:
        file.write(torn)
    assert inbox.take() == [Pause()]
    send(tmp_path, Stop())
    assert inbox.take() == [Stop()]
    assert inbox.take() == []


def test_a_command_that_is_not_written_whole_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    with monkeypatch.context() as context:
        context.setattr(os, "write", lambda to, data: real(to, data[:5]))
        with pytest.raises(OSError, match="No space left"):
            send(tmp_path, Stop())
    inbox = Inbox(tmp_path)
    send(tmp_path, Continue())
    assert inbox.take() == [Continue()]


def test_damaged_lines_and_large_files_are_passed(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    deep = b"[" * 30_000
    with open(tmp_path / NAME, "ab") as file:
        file.write(
            b'{"command":' + deep + b"\n{}\nnull\n\xff\n" + b"x" * (3 * commands.CHUNK) + b"\n"
        )
    send(tmp_path, Stop())
    found = [command for _ in range(6) for command in inbox.take()]
    assert found == [Stop()]


@pytest.mark.parametrize("way", ["pipe", "link", "folder"])
def test_nothing_else_is_read_or_written_in_place_of_the_file(tmp_path: Path, way: str) -> None:
    path, other = tmp_path / NAME, tmp_path / "mine.txt"
    other.write_text("mine")
    if way == "pipe":
        os.mkfifo(path)
    elif way == "link":
        path.symlink_to(other)
    else:
        path.mkdir()
    with pytest.raises(OSError, match=r"No such device|symbolic|directory|folder"):
        send(tmp_path, Stop())
    assert Inbox(tmp_path).take() == []
    assert other.read_text() == "mine"
