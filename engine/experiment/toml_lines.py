"""Finds the lines of the keys of a TOML text, which `tomllib` does not tell."""

import re
import tomllib
from collections.abc import Iterator

_KEY = re.compile(r'[ \t]*("(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|[A-Za-z0-9_-]+)[ \t]*')
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', re.DOTALL
)
_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_PLAIN = re.compile(r"[^\s,\]}#]+(?: [0-9][^\s,\]}#]*)?")
"""A number, a date (which may hold a space), true or false."""


def lines_of(text: str) -> dict[str, int]:
    """Return the line of each key, from 1: `train.lr`, `grid.lr[1]`, `cells[0].batch_size`.

    Headers of tables are keys too. A key that is quoted in the text stands without its quotes.

    Args:
        text: valid TOML. Of a text that is not understood, the lines up to there are returned.
    """
    found: dict[str, int] = {}
    try:
        for path, position in _Scanner(text):
            found.setdefault(path, position)
    except (_Lost, RecursionError):
        pass
    return _numbered(text, found)


def _numbered(text: str, positions: dict[str, int]) -> dict[str, int]:
    """Return lines in the place of positions, which increase."""
    lines, line, last = {}, 1, 0
    for path, position in sorted(positions.items(), key=lambda each: each[1]):
        line += text.count("\n", last, position)
        last = position
        lines[path] = line
    return lines


class _Lost(Exception):
    """The text is not what the scanner expects."""


class _Scanner:
    """Walks through the statements of a text; `at` is the position of the next character."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._tables: dict[str, int] = {}
        """How many tables each `[[array]]` has so far."""

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Yield each key with its position."""
        table = ""
        while self._skip():
            if self._ahead("["):
                start, many = self._at, self._ahead("[[")
                self._at += 2 if many else 1
                table = self._opened(self._key(), many)
                self._expect("]]" if many else "]")
                yield table, start
            else:
                yield from self._pair(table)

    def _opened(self, parts: list[str], many: bool) -> str:
        """Return the path of a header: the parts in arrays of tables get the last index."""
        path = ""
        for index, part in enumerate(parts):
            path = _below(path, part)
            if many and index == len(parts) - 1:
                self._tables[path] = self._tables.get(path, 0) + 1
            if path in self._tables:
                path = f"{path}[{self._tables[path] - 1}]"
        return path

    def _pair(self, above: str) -> Iterator[tuple[str, int]]:
        start, path = self._at, above
        for part in self._key():
            path = _below(path, part)
            yield path, start
        self._expect("=")
        yield from self._value(path)

    def _value(self, path: str) -> Iterator[tuple[str, int]]:
        self._skip()
        if self._ahead("["):
            self._at += 1
            index = 0
            while not self._closed("]"):
                yield f"{path}[{index}]", self._at
                yield from self._value(f"{path}[{index}]")
                index += 1
        elif self._ahead("{"):
            self._at += 1
            while not self._closed("}"):
                yield from self._pair(path)
        else:
            found = _STRING.match(self._text, self._at) or _PLAIN.match(self._text, self._at)
            if not found:
                raise _Lost
            self._at = found.end()

    def _closed(self, end: str) -> bool:
        """Skip a comma and what is empty, and return whether the list or table ends there."""
        self._skip()
        if self._ahead(","):
            self._at += 1
            self._skip()
        if self._ahead(end):
            self._at += 1
            return True
        if self._at >= len(self._text):
            raise _Lost
        return False

    def _key(self) -> list[str]:
        parts = []
        while True:
            found = _KEY.match(self._text, self._at)
            if not found:
                raise _Lost
            self._at = found.end()
            parts.append(_unquoted(found[1]))
            if not self._ahead("."):
                return parts
            self._at += 1

    def _skip(self) -> bool:
        """Skip spaces, line ends and comments; return whether anything follows."""
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._at < len(self._text)

    def _ahead(self, sign: str) -> bool:
        return self._text.startswith(sign, self._at)

    def _expect(self, sign: str) -> None:
        if not self._ahead(sign):
            raise _Lost
        self._at += len(sign)


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _unquoted(key: str) -> str:
    if key[0] not in "\"'":
        return key
    try:
        return str(tomllib.loads(f"key = {key}")["key"])
    except ValueError:
        raise _Lost from None
