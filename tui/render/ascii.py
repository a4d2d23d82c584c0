"""ASCII for terminals without anything else: each character as one of the same width.

`plain` puts whole rows into ASCII. The error handler does the same to whatever else is written to
a stream whose encoding lacks a character, so that nothing is lost as a bare question mark.
"""

import codecs
import io
import locale
import os
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TextIO

HANDLER = "batchscope-plain"
BRAILLE = range(0x2800, 0x2900)
MIDDLE, UPPER, LOWER = 0x36, 0x1B, 0xE4
"""Dots of the two rows in the middle, above, and below."""
_PAIRS = (
    ("█▉▊▋▌", "#####"),
    ("▍▎▏", "---"),
    ("▇▆▅▄▃▂▁", "%*+=-._"),
    ("░▒▓", ":o%"),
    ("━╸╌╍", "=-.-"),
    ("╭╮╰╯┌┐└┘├┤┬┴┼", "+++++++++++++"),
    ("─│┃╵╷", "-||''"),
    ("▔▁▎▊", "-_||"),
    ("●▲■◆▼○△□◇▽", "o^#*vo^#*v"),
    ("◌‖✓✗↯»·▸▾▶◀★", "o=+x!>.>v><*"),
    ("↑↓←→↗↖↙↘⇧", "^v<>/\\/\\^"),
    ("±×÷−–—…", "~x/---."),
    ("μκσαβρεΣ²³°•≤⁻", "uksabreS23 *<-"),
    ("‘’“”«»", "''\"\"<>"),
)
_TABLE = {
    ord(one): other for ones, others in _PAIRS for one, other in zip(ones, others, strict=True)
}
_TABLE[ord("🔎")] = "> "  # the palette of Textual asks with it


def plain(text: str) -> str:
    """The text in ASCII, as wide as before; an accent is left off, what is unknown a `?`."""
    return text if text.isascii() else "".join(map(_plain, text))


@lru_cache(4096)
def _plain(character: str) -> str:
    if character.isascii():
        return character
    code = ord(character)
    if code in _TABLE:
        return _TABLE[code]
    if code in BRAILLE:
        return _dots(code - BRAILLE.start)
    from rich.cells import cell_len

    base = unicodedata.normalize("NFKD", character)[:1]
    width = cell_len(character)
    return base if base.isascii() and width == 1 else "?" * width


def _dots(dots: int) -> str:
    """What a cell of dots looks like from afar."""
    if not dots & ~MIDDLE:
        return "-" if dots else " "
    if dots & UPPER and dots & LOWER:
        return ":"
    return "'" if dots & UPPER else "."


def prepare(streams: Iterable[TextIO | None], ascii_only: bool) -> None:
    """Have streams write what their encoding lacks in ASCII, or everything."""
    codecs.register_error(HANDLER, _handle)
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="ascii" if ascii_only else None, errors=HANDLER)


def _handle(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return plain(error.object[error.start : error.end]), error.end


def wants_ascii(asked: bool | None, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether to draw in ASCII alone: as asked, or else where the locale is not UTF-8."""
    return not _utf8_locale(environment) if asked is None else asked


def _utf8_locale(environment: Mapping[str, str]) -> bool:
    """What the first of the locale's variables says; with none of them, Python's own choice."""
    names = ("LC_ALL", "LC_CTYPE", "LANG")
    name = next((environment[each] for each in names if environment.get(each)), "")
    if name in ("C", "POSIX"):
        return False
    encoding = name.partition(".")[2].partition("@")[0] or locale.getpreferredencoding(False)
    return _is_utf8(encoding)


def _is_utf8(encoding: str) -> bool:
    return encoding.lower().replace("-", "").replace("_", "") == "utf8"


def json_text(value: object, stream: TextIO) -> str:
    """A value as JSON on one line.

    What could steer a terminal is escaped, and where the stream is not UTF-8, all beyond ASCII.
    """
    import json

    import msgspec

    text = msgspec.json.encode(value).decode()
    encoding = getattr(stream, "encoding", None)
    if encoding and not _is_utf8(encoding):
        return json.dumps(json.loads(text))
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
