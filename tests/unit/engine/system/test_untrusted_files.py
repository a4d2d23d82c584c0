import os
import socket
from pathlib import Path

import msgspec
import pytest

from batchscope.engine.system.untrusted_files import (
    MOST_DEPTH,
    decode_json,
    decode_toml,
    open_regular,
    read_bytes,
    too_deep,
)


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_bytes(path, most=5) == b"12345"
    with pytest.raises(OSError, match="larger than 4 B"):
        read_bytes(path, most=4)


def test_a_sparse_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(OSError, match=r"larger than 16\.0 MiB"):
        read_bytes(path)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/tty", "/dev/null", "/proc/self/mem"])
def test_devices_are_refused(path: str) -> None:
    with pytest.raises(OSError):  # noqa: PT011 (there may be no terminal)
        read_bytes(Path(path))


def test_a_pipe_without_a_writer_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        read_bytes(tmp_path / "pipe")


def test_sockets_and_folders_are_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        with pytest.raises(OSError):  # noqa: PT011 (the system refuses to open it)
            read_bytes(tmp_path / "s")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read_bytes(tmp_path)


def test_a_link_is_followed_only_if_allowed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    assert read_bytes(tmp_path / "link") == b"x"
    with pytest.raises(OSError):  # noqa: PT011 (ELOOP)
        open_regular(tmp_path / "link", follow=False)


def test_no_descriptor_stays_open_after_a_refusal(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        with pytest.raises(IsADirectoryError):
            read_bytes(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("depth", [MOST_DEPTH + 2, 1000, 200_000])
def test_deep_nesting_is_damage(depth: int) -> None:
    nested = b"[" * depth + b"]" * depth
    with pytest.raises(msgspec.DecodeError, match="nested too deeply"):
        decode_json(nested, list)
    with pytest.raises(ValueError, match="nested too deeply"):
        decode_toml(b"a = " + nested)


def test_bytes_that_are_no_utf8_are_damage() -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_json(b'["\xff"]', list)
    with pytest.raises(ValueError, match="utf-8"):
        decode_toml(b'a = "\xff"')


def test_depth_counts_the_levels_of_dicts_and_lists() -> None:
    assert not too_deep([[1]], most=2)
    assert too_deep([[1]], most=1)
    assert too_deep({"a": [{"b": 1}]}, most=2)
    assert not too_deep(1, most=0)


@pytest.mark.parametrize(
    "text",
    [
        "a{} = 1",
        "x = 1\n  a{} = 1",
        "[a{}]\nx = 1",
        "[[a{}]]\nx = 1",
        "x = {{ y = 1, a{} = 1 }}",
    ],
)
@pytest.mark.parametrize("part", [".a", ' . "a b"', ".'a.b'"])
def test_long_dotted_keys_are_damage(text: str, part: str) -> None:
    """`tomllib` would take minutes for the longest of these."""
    assert decode_toml(text.format(part * 40).encode())
    for count in (70, 300_000):
        with pytest.raises(ValueError, match="deep"):
            decode_toml(text.format(part * count).encode())


def test_texts_with_many_dots_are_no_keys() -> None:
    text = "first.second." * 100
    assert decode_toml(f'x = "{text}"\ny = ["{text}", 1.5]'.encode()) == {
        "x": text,
        "y": [text, 1.5],
    }
