"""Parses a report as a browser does, without drawing it."""

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

VOID = {"meta", "link", "br", "img"}


class Page(HTMLParser):
    """The elements and text of a report, and its numbers with the places they come from."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.numbers: list[tuple[str, str, str]] = []
        self.headings: list[tuple[str, str]] = []
        self._open: list[str] = []
        self._texts: list[str] = []
        self._number: tuple[str, str] | None = None
        self._shown = ""
        self.feed(html)
        self.close()

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self._texts))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attributes]
        if tag not in VOID:
            self._open.append(tag)
        if tag == "data":
            found = dict(attributes)
            self._number, self._shown = (found["data-at"] or "", found["value"] or ""), ""
        if tag in ("h1", "h2", "h3"):
            self.headings.append((tag, ""))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> was never opened"
        assert self._open.pop() == tag
        if tag == "data":
            assert self._number is not None
            self.numbers.append((*self._number, self._shown))
            self._number = None

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self._texts.append(data)
        if self._number is not None:
            self._shown += data
        if self._open and self._open[-1] in ("h1", "h2", "h3"):
            tag, text = self.headings[-1]
            self.headings[-1] = (tag, text + data)


class Files:
    """The exact numbers of an export, by their places as a report names them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, Any] = {}

    def exact(self, at: str) -> float:
        """Return the number at a place, `FILE#KEY/KEY/…`."""
        name, _, path = at.partition("#")
        if name not in self._read:
            text = (self._folder / name).read_text()
            is_table = name.endswith(".csv")
            self._read[name] = (
                list(csv.DictReader(text.splitlines())) if is_table else json.loads(text)
            )
        value = self._read[name]
        for key in path.split("/"):
            value = value[int(key)] if isinstance(value, list) else value[key]
        return float(value)


UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def is_rounded(shown: str, exact: float) -> bool:
    """Return whether a shown number is the exact one, rounded to its last digit.

    The file may have a share for a percentage, and seconds for milliseconds.
    """
    digits, _, unit = shown.replace("−", "-").replace("+", "").replace(",", "").partition(" ")
    mantissa, _, exponent = digits.partition("e")
    decimals = len(mantissa.partition(".")[2])
    half = 0.5 * 10.0 ** (int(exponent or 0) - decimals) * (1 + 1e-9)
    factors = (1.0 / UNITS[unit],) if unit else (1.0, 100.0, 1000.0, 2.0**-20)
    return any(abs(float(digits) - exact * factor) <= half for factor in factors)


def check_numbers(folder: Path, page: Page) -> None:
    """Assert that every shown number is the rounded number at its place in the export."""
    files = Files(folder)
    assert page.numbers
    for at, value, shown in page.numbers:
        exact = files.exact(at)
        assert float(value) == exact, at
        assert is_rounded(shown, exact), (at, shown, exact)
